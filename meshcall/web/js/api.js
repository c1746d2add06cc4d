// The daemon's API and its WebSocket. The identity's key never comes here; the session is an HttpOnly cookie.

const PREFIX = '/api/v1';
const RETRY = [200, 500, 1000, 2000, 4000];
const PATIENCE = 5000;  // ms for a daemon that is just coming back

/** What the daemon refused, with its stable code. */
export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.hint = error.hint ?? '';
    /** All of it, where there is one line for it. */
    this.whole = this.hint ? `${error.message.replace(/\.$/, '')}. ${this.hint}` : error.message;
  }
}

async function exchange(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: method === 'GET' ? {} : {'Content-Type': 'application/json'},
      body: method === 'GET' ? undefined : JSON.stringify(body ?? {}),
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch {
    throw new ApiError(0, {code: 'no-daemon', message: 'the daemon does not answer'});
  }
  let content;
  try {
    content = await response.json();
  } catch {
    throw new ApiError(response.status, {code: 'no-daemon', message: 'the daemon does not answer'});
  }
  if (!response.ok) throw new ApiError(response.status, content.error);
  return content;
}

/** The address of something in the API. @param {...string} parts */
export const address = (...parts) => encoded(parts);
const encoded = parts => PREFIX + '/' + parts.map(encodeURIComponent).join('/');

/** @param {...string} parts */
export const get = (...parts) => exchange('GET', encoded(parts));
/** @param {string} method @param {string[]} parts @param {any} [body] */
export const send = (method, parts, body) => exchange(method, encoded(parts), body);
/** Log this browser in by the token of a login link. @param {string} token */
export const logIn = token => exchange('POST', '/login', {token});
/** Log this browser out. */
export const logOut = () => exchange('POST', '/logout');

/** The WebSocket: events and media messages. It comes back by itself when the daemon does. */
export class Connection extends EventTarget {
  constructor() {
    super();
    this.page = '';
    this.tries = 0;
    this.socket = null;
  }

  #again = 0;

  /** Connect, and again whenever it is lost, until `close`. */
  open() {
    window.clearTimeout(this.#again);
    const socket = this.socket = new WebSocket(`ws://${location.host}${PREFIX}/page`);
    const current = work => event => { if (this.socket === socket) work(event); };
    socket.addEventListener('message', current(event => this.#receive(JSON.parse(event.data))));
    socket.addEventListener('close', current(() => this.#lost()));
  }

  /** Nothing is told any more, until `open`. */
  close() {
    window.clearTimeout(this.#again);
    this.socket?.close();
    this.socket = null;
    this.page = '';
  }

  /**
   * What the daemon calls this page, waited for while it comes back: a call without it would have its media in
   * the daemon. @throws {ApiError}
   */
  async name() {
    if (!this.page) {
      await new Promise(resolve => {
        window.setTimeout(resolve, PATIENCE);
        this.addEventListener('up', resolve, {once: true});
      });
    }
    if (!this.page) throw new ApiError(0, {code: 'no-daemon', message: 'the daemon does not answer'});
    return this.page;
  }

  /** Say something about a call's media. @param {Record<string, any>} message */
  tell(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #receive(content) {
    if (content.hello) {
      this.page = content.hello.page;
      this.tries = 0;
      this.dispatchEvent(new CustomEvent('up'));
    }
    if (content.event) this.dispatchEvent(new CustomEvent('event', {detail: content.event}));
    if (content.media) this.dispatchEvent(new CustomEvent('media', {detail: content.media}));
  }

  #lost() {
    const was = this.page;
    this.page = '';
    if (was) this.dispatchEvent(new CustomEvent('down'));
    this.#again = window.setTimeout(() => this.open(), RETRY[Math.min(this.tries++, RETRY.length - 1)]);
    if (!was && this.tries === 1) this.dispatchEvent(new CustomEvent('down'));
  }
}
