/** What our parts of nodes have in common: elements, widgets that are not saved, and callbacks of a node. */

import { app } from "../../scripts/app.js";

/** @param {string} tag @param {string} name of its class @param {string} [text] */
export function make(tag, name, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

/**
 * Put an element below a node's inputs. Nothing of it goes into a saved workflow.
 * @param {object} node the LiteGraph node
 * @param {string} name
 * @param {HTMLElement} element
 * @param {{getMinHeight: () => number, getMaxHeight?: () => number}} size in pixels
 */
export function addPart(node, name, element, size) {
  const options = { ...size, hideOnZoom: false, serialize: false };
  const widget = node.addDOMWidget(name, `isengard_${name}`, element, options);
  widget.serialize = false;
}

/** The same for all nodes that are made for one place in one workflow: it is opened, switched to and undone. */
export function key(node) {
  return `${node.graph?.id} ${node.id}`;
}

/** Have `then` called after a node's own callback. */
export function after(node, callback, then) {
  const before = node[callback];
  node[callback] = function (...args) {
    before?.apply(this, args);
    then(...args);
  };
}

/** Over the element the wheel zooms and the middle button pans, as elsewhere. Vue nodes see to that themselves. */
export function forwardToCanvas(element) {
  const forward = (event) => {
    if (window.LiteGraph?.vueNodesMode) return;
    event.preventDefault();
    app.canvas.canvas.dispatchEvent(new event.constructor(event.type, event));
  };
  element.addEventListener("wheel", forward);
  element.addEventListener("pointerdown", (event) => event.button === 1 && forward(event));
}

/** What was changed on a node by our parts can be undone as one change. */
export function recordChange() {
  app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.checkState?.();
}
