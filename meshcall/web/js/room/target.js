// What somebody wrote to join a room. Pure.

const CODE = /^\s*(\d{1,2})[\s-]+(\p{L}+)[\s-]+(\p{L}+)\s*$/u;

/** Whether a text is a link to a room: a `meshcall:` link with a room in it. @param {string} text */
export const isRoomLink = text => /^\s*meshcall:[^#]*[?&]r=/i.test(text);

/** The code in a text as it is written, or an empty text. Spoken ones come with spaces. @param {string} text */
export function codeIn(text) {
  const found = CODE.exec(text);
  return found ? found.slice(1).join('-').toLowerCase() : '';
}

/** What to join by: a link, a code or a name. @param {string} text */
export const target = text => (isRoomLink(text) ? text.trim() : codeIn(text) || text.trim());
