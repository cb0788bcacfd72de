// The few DOM helpers of the page. A write that changes nothing is left out: at sixty frames a second that is most of them.

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id @returns {T}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return /** @type {T} */ (element);
}

/** Changes the text that is there, where it is the only child: a new one would be styled anew. @param {Node} node @param {string} value */
export function text(node, value) {
  const { firstChild } = node;
  if (firstChild instanceof Text && !firstChild.nextSibling) {
    if (firstChild.data !== value) firstChild.data = value;
  } else if (node.textContent !== value) node.textContent = value;
}

/**
 * A place inside an element for words that change often. It has a size of its own and is no item of a grid or a flex box, so
 * that new words lay out this place and nothing else.
 * @param {HTMLElement} parent of a fixed height @returns {HTMLElement}
 */
export function cell(parent) {
  const place = make("span", "cell", ...parent.childNodes);
  parent.append(place);
  return place;
}

/** @param {HTMLElement} element @param {boolean} hidden */
export function hide(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/** @param {Element} node @param {string} name @param {string | number} value */
export function attribute(node, name, value) {
  const wanted = String(value);
  if (node.getAttribute(name) !== wanted) node.setAttribute(name, wanted);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {string} [className] @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A bar between 0 and 1 (or −1 and 1). @param {HTMLElement} bar @param {number} share */
export function scale(bar, share) {
  const value = `scaleX(${share.toFixed(3)})`;
  if (bar.style.transform !== value) bar.style.transform = value;
}

/** Rows of a definition list, made once. */
export class Facts {
  /** @param {HTMLElement} list @param {string[]} names */
  constructor(list, names) {
    /** @type {Map<string, HTMLElement>} */
    this.values = new Map();
    for (const name of names) {
      const value = make("dd", "", "–");
      list.append(make("dt", "", name), value);
      this.values.set(name, cell(value));
    }
  }

  /** @param {string} name @param {string} value @param {number} [sign] */
  set(name, value, sign) {
    const node = /** @type {HTMLElement} */ (this.values.get(name));
    text(node, value);
    if (sign !== undefined) attribute(node, "data-sign", Math.sign(sign));
  }
}
