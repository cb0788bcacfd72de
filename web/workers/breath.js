// A turn of the event loop for a worker whose loops seldom end: what was sent to it is heard before they go on.

const channel = new MessageChannel();
/** Who waits, in order: several loops may at once, and each gets a turn of its own. @type {(() => void)[]} */
const waiting = [];
channel.port1.onmessage = () => waiting.shift()?.();

/** Lets messages in. @returns {Promise<void>} */
export function breath() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    channel.port2.postMessage(0);
  });
}
