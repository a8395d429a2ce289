/** The files that a person chose or dropped, with the folders that they were in. */

/**
 * @typedef {object} Given
 * @property {string} path its folders and its name, parted by "/"
 * @property {File} file
 */

/** Of a file input; one for folders tells the folders. @param {FileList} files @returns {Given[]} */
export function chosen(files) {
  return [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** Whether a data set can be made of what is dragged: files, and not a workflow alone. @param {DataTransfer} transfer */
export function isTaken(transfer) {
  if (![...(transfer?.items ?? [])].some((item) => item.kind === "file")) return false;
  const names = [...transfer.files].map((file) => file.name); // there when it is dropped; none while it is dragged
  return !names.length || names.some((name) => !name.endsWith(".json"));
}

/**
 * All files of what was dropped, those in folders too. What is hidden is not looked into.
 * @param {DataTransfer} transfer which gives its entries only until the event is over
 * @returns {Promise<Given[]>}
 */
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const found = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const given = [];
  for (const each of found) {
    if (each instanceof File) given.push({ path: each.name, file: each });
    else if (each) await collect(each, given);
  }
  return given;
}

/** @param {FileSystemEntry} entry @param {Given[]} given gets what is in it */
async function collect(entry, given) {
  if (entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    given.push({ path: entry.fullPath.replace(/^\/+/, ""), file });
    return;
  }
  for (const each of await listed(entry.createReader())) await collect(each, given);
}

/** @param {FileSystemDirectoryReader} reader which gives some entries at a time, and at last none */
async function listed(reader) {
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return all;
    all.push(...some);
  }
}
