// A canvas for what changes many times a second. Numbers in elements would be styled, laid out and painted again at each
// change, which takes the machine from the engine for milliseconds at a time; here a change costs its own pixels. What a
// canvas contains in the document (rows and cells for a screen reader) is never laid out.

const COLOURS = [
  "panel", "text", "quiet", "edge", "grid", "bid", "ask", "bid-bar", "ask-bar", "mark", "line-price", "whale", "phase-0",
  "phase-1", "phase-2", "phase-3", "mono",
];

export class Sheet {
  /** @param {HTMLCanvasElement} canvas @param {() => void} renew draws everything: size or colours are new */
  constructor(canvas, renew) {
    this.canvas = canvas;
    this.pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.renew = renew;
    this.width = 0;
    this.height = 0;
    this.ratio = 1;
    /** @type {Record<string, string>} */
    this.colours = {};
    this.restyle();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    new MutationObserver(() => {
      this.restyle();
      this.#again();
    }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /** Takes the colours of the theme. */
  restyle() {
    const style = getComputedStyle(document.documentElement);
    for (const name of COLOURS) this.colours[name] = style.getPropertyValue(`--${name}`).trim();
  }

  #resize() {
    this.ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.#again();
  }

  #again() {
    this.fill("panel", 0, 0, this.width, this.height);
    if (this.width > 0 && this.height > 0) this.renew();
  }

  /** @param {string} colour its name @param {number} x @param {number} y @param {number} width @param {number} height */
  fill(colour, x, y, width, height) {
    this.pen.fillStyle = this.colours[colour];
    this.pen.fillRect(x, y, width, height);
  }

  /** To the nearest whole pixel of the screen. @param {number} length @returns {number} */
  snap(length) {
    return Math.round(length * this.ratio) / this.ratio;
  }
}
