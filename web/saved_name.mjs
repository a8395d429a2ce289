/** The name that a Save node gave its file, on the node: where there was one already, the new one has a number. */

/** @type {Map<string, string>} by graph and node, since the editor makes new nodes when a workflow is switched to */
const names = new Map();

/** @param {object} node the LiteGraph node that gets the line */
export function addSavedName(node) {
  const element = document.createElement("div");
  element.className = "isengard-saved";
  const size = { getMinHeight: () => 38, getMaxHeight: () => 38, hideOnZoom: false };
  const widget = node.addDOMWidget("saved_name", "isengard_saved_name", element, { ...size, serialize: false });
  widget.serialize = false;
  const show = () => (element.textContent = names.get(key(node)) ?? "The name of the file appears here.");

  after(node, "onAdded", show);
  after(node, "onExecuted", (output) => {
    if (output?.text) names.set(key(node), [output.text].flat().join(""));
    show();
  });
  show();
}

function key(node) {
  return `${node.graph?.id} ${node.id}`;
}

/** Have `then` called after a node's own callback. */
function after(node, callback, then) {
  const before = node[callback];
  node[callback] = function (...args) {
    before?.apply(this, args);
    then(...args);
  };
}
