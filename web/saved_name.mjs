/** The name that a Save node gave its file, on the node: where there was one already, the new one has a number. */

import { addPart, after, key, make } from "./node_parts.mjs";

/** @type {Map<string, string>} by graph and node, since the editor makes new nodes when a workflow is switched to */
const names = new Map();

/** @param {object} node the LiteGraph node that gets the line */
export function addSavedName(node) {
  const element = make("div", "isengard-saved");
  addPart(node, "saved_name", element, { getMinHeight: () => 38, getMaxHeight: () => 38 });
  const show = () => (element.textContent = names.get(key(node)) ?? "The name of the file appears here.");

  after(node, "onAdded", show);
  after(node, "onExecuted", (output) => {
    if (output?.text) names.set(key(node), [output.text].flat().join(""));
    show();
  });
  show();
}
