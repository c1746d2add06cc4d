// Where the pictures of a meeting go. Pure: sizes in, sizes out, all in CSS pixels.
//
// Law 1: every tile fits the area, if the area can hold the smallest ones; all tiles are alike.
// Law 2: of all ways to lay them out, the one with the largest tiles is taken.

export const GAP = 8;
const WIDEST = 16 / 9;  // a tile is never wider than a camera's picture,
const NARROWEST = 4 / 3;  // and never so narrow that it cuts people off,
const UPRIGHT = 1;  // for which there is more room where the area is upright
const LEAST = 96;  // width below which nobody is recognised: the grid is scrolled instead
const STRIP = 0.22;  // of the area, for the people beside a screen

/** The largest tile in `width` x `height`. */
function tileIn(width, height, narrowest = NARROWEST) {
  const ratio = Math.min(WIDEST, Math.max(narrowest, width / height));
  return width / height > ratio ? {width: height * ratio, height} : {width, height: width / ratio};
}

/**
 * The grid for `count` people.
 * @param {number} count @param {number} width @param {number} height of the area
 * @param {number} [narrowest] shape of a tile, width over height
 * @returns {{columns: number, rows: number, tileWidth: number, tileHeight: number}} whole pixels
 */
export function grid(count, width, height, narrowest = width < height ? UPRIGHT : NARROWEST) {
  let best = null;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const tile = tileIn((width - GAP * (columns - 1)) / columns, (height - GAP * (rows - 1)) / rows, narrowest);
    if (!(tile.width > 0 && tile.height > 0)) continue;
    if (!best || tile.width * tile.height > best.tileWidth * best.tileHeight * 1.001)
      best = {columns, rows, tileWidth: tile.width, tileHeight: tile.height};
  }
  if (!best || best.tileWidth < LEAST) {
    const columns = Math.max(1, Math.min(count, Math.floor((width + GAP) / (LEAST + GAP))));
    const tileWidth = Math.min(Math.max(1, width), Math.max(LEAST, (width - GAP * (columns - 1)) / columns));
    best = {columns, rows: Math.ceil(count / columns), tileWidth, tileHeight: tileWidth / WIDEST};
  }
  return {...best, tileWidth: Math.floor(best.tileWidth), tileHeight: Math.floor(best.tileHeight)};
}

/**
 * A screen in front, and a strip of people beside it (a wide area; of as many columns as make the largest tiles) or
 * below it (a narrow one: one row). The strip is no larger than its tiles; what does not fit is scrolled to.
 * @param {number} count people @param {number} width @param {number} height of the area
 * @returns {{side: 'beside'|'below', front: {width: number, height: number}, strip: {width: number, height: number},
 *   columns: number, tileWidth: number, tileHeight: number}} whole pixels
 */
export function front(count, width, height) {
  const whole = (wide, high) => ({width: Math.max(0, Math.floor(wide)), height: Math.max(0, Math.floor(high))});
  if (width > height) {
    const {columns, tileWidth, tileHeight} = grid(count, Math.min(Math.max(140, width * STRIP), 320), height, NARROWEST);
    const strip = columns * (tileWidth + GAP) - GAP;
    return {side: 'beside', front: whole(width - strip - GAP, height), strip: whole(strip, height), columns, tileWidth, tileHeight};
  }
  const most = Math.min(Math.max(110, height * STRIP), 220);
  const tile = tileIn(Math.max(100, (width - GAP * (count - 1)) / count), most, UPRIGHT);
  const [tileWidth, tileHeight] = [Math.floor(tile.width), Math.floor(tile.height)];
  return {
    side: 'below', front: whole(width, height - tileHeight - GAP), strip: whole(width, tileHeight), columns: count,
    tileWidth, tileHeight,
  };
}
