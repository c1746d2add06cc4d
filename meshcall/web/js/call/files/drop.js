// Files that are dropped on something, or picked.

import {announce, el} from '../../dom.js';
import {t} from '../../i18n.js';

const hasFiles = event => event.dataTransfer?.types.includes('Files') ?? false;

/** The files of a drop; folders are left out, and said to be. */
function filesOf(transfer) {
  const items = [...transfer.items].filter(item => item.kind === 'file');
  const plain = items.filter(item => !item.webkitGetAsEntry?.()?.isDirectory);
  if (plain.length < items.length) announce(t('files.folder'), true);
  return plain.map(item => item.getAsFile()).filter(Boolean);
}

/** Take files that are dropped on an element. @param {HTMLElement} element @param {(files: File[]) => void} take */
export function takeDrops(element, take) {
  let depth = 0;  // of the elements within that the pointer is in
  const mark = by => {
    depth = Math.max(0, depth + by);
    element.classList.toggle('dropping', depth > 0);
  };
  element.addEventListener('dragenter', event => { if (hasFiles(event)) mark(1); });
  element.addEventListener('dragleave', event => { if (hasFiles(event)) mark(-1); });
  element.addEventListener('dragover', event => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
  });
  element.addEventListener('drop', event => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(-depth);
    const files = filesOf(event.dataTransfer);
    if (files.length) take(files);
  });
}

/** A file that is dropped beside what takes it must not take the page's place, and end a call. */
export function ignoreOtherDrops() {
  window.addEventListener('dragover', event => {
    if (event.defaultPrevented || !hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'none';
  });
  window.addEventListener('drop', event => { if (hasFiles(event)) event.preventDefault(); });
}

/** A field that is not seen; `.click()` asks for files. @param {string} id @param {(files: File[]) => void} take */
export function picker(id, take) {
  const field = el('input.hidden', {id, type: 'file', multiple: true, tabindex: -1, 'aria-hidden': 'true', onchange: () => {
    const files = [...field.files];
    field.value = '';  // the same file again is a change, too
    if (files.length) take(files);
  }});
  return field;
}
