// Cameras and microphones: which there are, which are wanted, and their tracks.

const WANTED = {audio: 'microphone', video: 'camera', output: 'speaker'};

/** The device that was chosen for a kind, or an empty text. @param {'audio'|'video'|'output'} kind */
export const chosen = kind => window.localStorage.getItem(WANTED[kind]) ?? '';
/** Choose a device. @param {'audio'|'video'|'output'} kind @param {string} id */
export const choose = (kind, id) => window.localStorage.setItem(WANTED[kind], id);

function constraint(kind) {
  const id = chosen(kind);
  const device = id ? {deviceId: {ideal: id}} : {};
  if (kind === 'audio')
    return {...device, echoCancellation: true, noiseSuppression: true, autoGainControl: true};
  return {...device, width: {ideal: 1280}, height: {ideal: 720}, frameRate: {ideal: 30}};
}

/**
 * A stream with what there is of what is wanted; a camera that is missing or taken costs no call.
 * @param {{audio: boolean, video: boolean}} wanted
 * @returns {Promise<{stream: MediaStream, problems: string[]}>} problems: names of DOMExceptions
 */
export async function open({audio, video}) {
  const problems = [];
  if (!navigator.mediaDevices) return {stream: new MediaStream(), problems: ['none']};
  const attempts = [{audio, video}, {audio, video: false}, {audio: false, video}]
    .filter(one => one.audio || one.video);
  for (const {audio: sound, video: pictures} of attempts) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: sound && constraint('audio'),
        video: pictures && constraint('video'),
      });
      return {stream, problems};
    } catch (error) {
      problems.push(error.name);
    }
  }
  return {stream: new MediaStream(), problems};
}

/** One track of the chosen device. @param {'audio'|'video'} kind */
export async function openOne(kind) {
  const stream = await navigator.mediaDevices.getUserMedia({[kind]: constraint(kind)});
  return stream.getTracks()[0];
}

/** The devices of a kind. @param {'audioinput'|'videoinput'|'audiooutput'} kind */
export async function list(kind) {
  const all = await navigator.mediaDevices?.enumerateDevices() ?? [];
  return all.filter(device => device.kind === kind && device.deviceId);
}

/**
 * Call back when the browser refuses camera or microphone, and when it does no more; browsers that can't tell
 * call nobody.
 * @param {(refused: boolean) => void} tell @param {AbortSignal} signal ends it
 */
export async function watchPermissions(tell, signal) {
  const found = await Promise.all(['camera', 'microphone'].map(name =>
    navigator.permissions?.query({name: /** @type {any} */ (name)}).catch(() => null)));
  const states = found.filter(Boolean);
  const refused = () => states.some(one => one.state === 'denied');
  if (signal.aborted) return;
  for (const one of states) one.addEventListener('change', () => tell(refused()), {signal});
  if (refused()) tell(true);
}

/** Call back with the loudness of a stream, 0 to 1, ten times a second, until the returned function is called. */
export function watchLevel(stream, tell) {
  if (!stream.getAudioTracks().length) return () => {};
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 4096;  // most of the time between two looks, so that no short sound is missed
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = window.setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    tell(Math.min(1, Math.sqrt(power) * 4));
  }, 100);
  return () => { window.clearInterval(timer); context.close(); };
}
