/** The page: it starts the module, then shows what the session holds. */
import { render } from 'preact';
import { start } from './engine.js';
import { preferred, say, speak } from './model/text.js';
import { Session } from './session.js';
import './style.css';
import { App } from './views/App.js';
import { Message } from './views/Message.js';

const page = document.querySelector('#page');
if (!page) throw new Error('the page has no place for its content');
speak(preferred(navigator.languages));
const session = new Session();
// What was picked is gone with a reload, and picking it again takes a while.
addEventListener('beforeunload', (event) => {
  if (session.hasContent) event.preventDefault();
});
start().then(
  () => render(<App session={session} />, page),
  (error: unknown) =>
    render(
      <main class="only">
        <Message
          of={{
            tone: 'bad',
            title: say('This browser can’t run the page'),
            text: say('Its WebAssembly module could not be started.'),
            next: [say('Use a current Firefox, Chrome, Edge or Safari.'), say('If WebAssembly is switched off by policy, use the stillkey command.')],
            detail: String(error),
          }}
        />
      </main>,
      page,
    ),
);
