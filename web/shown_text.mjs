/** The text that a node gave when it ran, on the node: a file's name, or what was found. */

import { addPart, after, forwardToCanvas, key, make } from "./node_parts.mjs";

const LINE = 38; // pixels
const REPORT = 120; // and as much as the node has room for

/** @type {Map<string, string>} by graph and node, since the editor makes new nodes when a workflow is switched to */
const texts = new Map();

/** One line, such as a file's name. @param {string} hint stands there until the node has run */
export function addLine(hint) {
  return (node) => add(node, make("div", "isengard-line"), hint, { getMinHeight: () => LINE, getMaxHeight: () => LINE });
}

/** Several lines, which can be selected; they scroll where there are more. @param {string} hint as above */
export function addReport(hint) {
  return (node) => {
    const element = make("div", "isengard-report");
    element.tabIndex = 0; // so that keys scroll it
    add(node, element, hint, { getMinHeight: () => REPORT });
    element.addEventListener("wheel", (event) => element.scrollHeight > element.clientHeight && event.stopPropagation());
    forwardToCanvas(element);
  };
}

function add(node, element, hint, size) {
  addPart(node, "shown_text", element, size);
  const show = () => {
    const text = texts.get(key(node));
    element.textContent = text ?? hint;
    element.title = size.getMaxHeight ? element.textContent : "";
    element.dataset.empty = String(text === undefined);
  };
  after(node, "onAdded", show);
  after(node, "onExecuted", (output) => {
    if (output?.text) texts.set(key(node), [output.text].flat().join(""));
    show();
  });
  show();
}
