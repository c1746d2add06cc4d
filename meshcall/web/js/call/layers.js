// How large a picture is asked for, and how one that is asked for is encoded. Pure.
//
// Law 1: nobody asks for more than it can show; a tile that is not seen asks for nothing.
// Law 2: what is asked of us is never made larger than the source, and costs what its size needs.

/** The sizes that senders make, and what they may cost (docs/media.md). */
export const LAYERS = [
  {height: 180, fps: 15, bitrate: 150_000},
  {height: 360, fps: 30, bitrate: 500_000},
  {height: 720, fps: 30, bitrate: 1_500_000},
];
const STRETCH = 1.25;  // a picture is shown this much larger than it is before a larger one is asked for
const STAY = 0.1;  // of a border's size: within it what was asked for stays, so that nothing flutters
const CROWD = 4;  // people beyond which middle-sized pictures come at half the rate: the uplink is shared
const SCREEN_BITRATE = 1_500_000;
const SCREEN_FPS = 15;

/**
 * What to ask for.
 * @param {number} pixels the height of the tile on the screen, in device pixels; 0: not seen
 * @param {number} [before] the height asked for until now
 */
export function heightFor(pixels, before = 0) {
  if (pixels <= 0) return 0;
  const border = height => height * STRETCH;
  const wanted = (LAYERS.find(layer => border(layer.height) >= pixels) ?? LAYERS.at(-1)).height;
  if (!before || before === wanted) return wanted;
  const below = Math.min(before, wanted);
  const near = Math.abs(pixels - border(below)) <= STAY * border(below);
  const neighbours = Math.abs(LAYERS.findIndex(one => one.height === before)
    - LAYERS.findIndex(one => one.height === wanted)) === 1;
  return near && neighbours ? before : wanted;
}

/** Pictures a second to ask for. @param {number} height @param {number} people in the room, we too */
export function rateFor(height, people) {
  if (!height) return 0;
  const layer = LAYERS.find(one => one.height >= height) ?? LAYERS.at(-1);
  return layer.height === 360 && people > CROWD ? 15 : layer.fps;
}

/**
 * How to encode what was asked for, as an RTCRtpEncodingParameters.
 * @param {{kind: 'camera'|'screen', height: number, fps: number}} asked height 0: nothing; fps 0: any
 * @param {number} source the height of what the camera or the screen gives; 0: not known yet
 */
export function encoding({kind, height, fps}, source) {
  if (!height) return {active: false};
  const layer = LAYERS.find(one => one.height >= height) ?? LAYERS.at(-1);
  const most = kind === 'screen' ? SCREEN_FPS : layer.fps;
  return {
    active: true,
    scaleResolutionDownBy: source > height ? source / height : 1,
    maxBitrate: kind === 'screen' ? SCREEN_BITRATE : layer.bitrate,
    maxFramerate: fps ? Math.min(fps, most) : most,
  };
}
