// WebKit, Safari's engine, by its own driver. It opens windows, so it gets a screen of its own, which nobody sees.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Builder } from 'selenium-webdriver';

/** Starts screen, driver and browser; what comes back opens one page and closes them all. `session` is the driver's. */
export async function launchWebKit(binary) {
  const children = [];
  const start = (command, options, { stdio = [], env = {} } = {}) => {
    const child = spawn(command, options, { stdio: ['ignore', 'ignore', 'inherit', ...stdio], env: { ...process.env, ...env } });
    children.push(child);
    return child;
  };
  const endAll = () => children.reverse().forEach((child) => child.kill());
  try {
    const screen = start('Xvfb', ['-displayfd', '3', '-nolisten', 'tcp', '-screen', '0', '1280x1024x24'], { stdio: ['pipe'] });
    const [number] = await first(screen, once(screen.stdio[3], 'data'));
    const port = await freePort();
    const driver = start('WebKitWebDriver', [`--port=${port}`, '--host=127.0.0.1'], { env: { DISPLAY: `:${String(number).trim()}` } });
    const address = `http://127.0.0.1:${port}`;
    await first(driver, answers(`${address}/status`));
    const session = await new Builder()
      .usingServer(address)
      .withCapabilities({ browserName: 'MiniBrowser', 'webkitgtk:browserOptions': { binary, args: ['--automation'] } })
      .build();
    await session.manage().setTimeouts({ script: 600_000 });
    return {
      session,
      newPage: async () => pageOf(session),
      async close() {
        await session.quit().finally(endAll);
      },
    };
  } catch (error) {
    endAll();
    throw error;
  }
}

/** As much of a page as the tests use. The driver doesn't tell what a page logs: what goes wrong there shows in results alone. */
function pageOf(session) {
  return {
    on() {},
    async goto(address) {
      await session.get(address);
      // The driver says so before modules have run.
      await session.wait(async () => (await session.executeScript('return document.readyState')) === 'complete', 60_000);
    },
    async evaluate(work) {
      const [result, error] = await session.executeAsyncScript(`(${work})().then((result) => [result], (error) => [null, String(error)]).then(arguments[0])`);
      if (error) throw new Error(error);
      return result;
    },
  };
}

/** What is waited for, unless the child ends before. */
function first(child, wanted) {
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`${child.spawnfile} ended (${signal ?? code})`);
  });
  return Promise.race([wanted, ended]);
}

async function answers(address) {
  while (!(await fetch(address).then(({ ok }) => ok, () => false))) await pause(100);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
