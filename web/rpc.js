// Calls between the page and its workers: a name and arguments there, a value or one line of error back.

/** @typedef {Pick<Worker, "postMessage" | "addEventListener">} Peer */

/** An error whose message is meant for the person at the screen. */
export class Refusal extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "Refusal";
  }
}

/** @param {unknown} error @returns {string} one line */
export function oneLine(error) {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split("\n").pop() || "unknown error";
}

/**
 * Answers calls that arrive at a worker.
 * @param {Peer} peer
 * @param {Record<string, (...values: any[]) => any>} methods
 */
export function answer(peer, methods) {
  peer.addEventListener("message", async (/** @type {any} */ event) => {
    const { call, method, values } = event.data;
    if (call === undefined) return;
    try {
      const value = await methods[method](...values);
      peer.postMessage({ reply: call, value });
    } catch (error) {
      if (!(error instanceof Refusal)) console.error(error); // a defect of ours: the whole of it, for the console
      peer.postMessage({ reply: call, error: oneLine(error) });
    }
  });
}

/** Calls a worker, and hears what it says unasked. */
export class Caller {
  /**
   * @param {Peer} peer
   * @param {(event: any) => void} heard messages that are no replies
   */
  constructor(peer, heard) {
    this.peer = peer;
    this.next = 1;
    /** Called after each message, where the peer may sleep too deeply to hear it. @type {() => void} */
    this.knock = () => {};
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    peer.addEventListener("message", (/** @type {any} */ event) => {
      const { reply, value, error } = event.data;
      if (reply === undefined) {
        heard(event.data);
        return;
      }
      const waiting = this.waiting.get(reply);
      this.waiting.delete(reply);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Refusal(error));
    });
  }

  /**
   * @param {string} method
   * @param {any[]} values
   * @param {Transferable[]} transfer
   * @returns {Promise<any>}
   */
  call(method, values = [], transfer = []) {
    return new Promise((resolve, reject) => {
      this.waiting.set(this.next, { resolve, reject });
      this.peer.postMessage({ call: this.next++, method, values }, transfer);
      this.knock();
    });
  }
}
