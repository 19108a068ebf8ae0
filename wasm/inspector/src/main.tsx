/** The page: it starts the module, then shows what the session holds. */
import { render } from 'preact';
import { start } from './engine.js';
import { Session } from './session.js';
import './style.css';
import { App } from './views/App.js';
import { Message } from './views/Message.js';

const page = document.querySelector('#page');
if (!page) throw new Error('the page has no place for its content');
start().then(
  () => render(<App session={new Session()} />, page),
  (error: unknown) =>
    render(
      <main class="only">
        <Message
          of={{
            tone: 'bad',
            title: 'This browser can’t run the page',
            text: 'Its WebAssembly module could not be started.',
            next: ['Use a current Firefox, Chrome, Edge or Safari.', 'If WebAssembly is switched off by policy, use the stillkey command.'],
            detail: String(error),
          }}
        />
      </main>,
      page,
    ),
);
