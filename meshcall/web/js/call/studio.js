// Our camera, microphone and screen: opened once, for one peer or for all members of a meeting.
//
// Law 1: a device is opened once, however many peers its track goes to; `close` turns all of them off.
// Law 2: a camera that is off has no track, so that its light is out; a muted microphone stays open.

import * as devices from './devices.js';

/**
 * Events: `stream` (what there is has changed), `track` (detail: {kind: 'audio'|'video'|'screen', track: or null}),
 * `problem` (detail: the name of a DOMException).
 */
export class Studio extends EventTarget {
  /** @param {{audio: boolean, video: boolean}} wanted what is on */
  constructor(wanted) {
    super();
    this.wanted = {...wanted};
    this.local = new MediaStream();
    this.screen = null;
    this.problem = '';
  }

  #ready = null;
  #closed = false;

  /** Open what is wanted, once. A device that is missing or taken costs no call. */
  open() {
    this.#ready ??= devices.open(this.wanted).then(({stream, problems}) => {
      for (const track of stream.getTracks()) if (this.#closed) track.stop(); else this.#put(track);
      this.problem = problems.at(-1) ?? '';
      if (this.problem) {  // a device that is not there is off, and its button turns it on
        const [sound, pictures] = [this.track('audio'), this.track('video')];
        this.wanted = {audio: this.wanted.audio && Boolean(sound), video: this.wanted.video && Boolean(pictures)};
        if (sound || pictures) this.problem = sound ? 'no-camera' : 'no-microphone';
      }
      if (this.problem && !this.#closed) this.dispatchEvent(new CustomEvent('problem', {detail: this.problem}));
      this.#changed();
    });
    return this.#ready;
  }

  /** The track of a kind, if there is one. @param {'audio'|'video'|'screen'} kind */
  track(kind) {
    const tracks = kind === 'screen' ? this.screen?.getTracks() : this.local.getTracks();
    return tracks?.find(one => one.kind === (kind === 'audio' ? 'audio' : 'video')) ?? null;
  }

  #put(track) {
    this.local.addTrack(track);
    // A device that is pulled out: what it was is off, and nothing else ends
    track.addEventListener('ended', () => { if (this.local.getTracks().includes(track)) this.#lost(track); });
  }

  #lost(track) {
    this.local.removeTrack(track);
    if (track.kind === 'video') this.wanted.video = false;
    this.#tell(track.kind, null);
    this.dispatchEvent(new CustomEvent('problem', {detail: 'AbortError'}));
  }

  #tell(kind, track) {
    this.dispatchEvent(new CustomEvent('track', {detail: {kind, track}}));
    this.#changed();
  }

  #changed() { this.dispatchEvent(new CustomEvent('stream')); }

  /** Microphone or camera on or off. @param {'audio'|'video'} kind @param {boolean} on */
  async enable(kind, on) {
    const before = this.wanted[kind];
    this.wanted[kind] = on;
    let track = this.track(kind);
    if (on && !track) {
      try {
        track = await devices.openOne(kind);
      } catch (error) {
        this.wanted[kind] = before;
        throw error;
      }
      if (this.#closed || !this.wanted[kind]) { track.stop(); return; }
      this.#put(track);
      this.#tell(kind, track);
    } else if (!on && kind === 'video' && track) {
      this.local.removeTrack(track);
      track.stop();
      this.#tell(kind, null);
    }
    if (track && kind === 'audio') track.enabled = on;
    this.#changed();
  }

  /** Go on with the device that is chosen now. @param {'audio'|'video'} kind */
  async changeDevice(kind) {
    const track = await devices.openOne(kind);
    if (this.#closed) { track.stop(); return; }
    const old = this.track(kind);
    if (old) { this.local.removeTrack(old); old.stop(); }
    this.#put(track);
    track.enabled = this.wanted[kind];
    this.#tell(kind, track);
  }

  /** Share a screen, or stop. @param {boolean} on */
  async shareScreen(on) {
    if (on) {
      const screen = await navigator.mediaDevices.getDisplayMedia({video: true});
      const [track] = screen.getVideoTracks();
      if (this.#closed) { track.stop(); return; }
      this.screen = screen;
      track.addEventListener('ended', () => { if (this.screen === screen) this.shareScreen(false); });
      this.#tell('screen', track);
    } else {
      for (const track of this.screen?.getTracks() ?? []) track.stop();
      this.screen = null;
      this.#tell('screen', null);
    }
  }

  /** Turn everything off. Idempotent. */
  close() {
    this.#closed = true;
    for (const stream of [this.local, this.screen])
      for (const track of stream?.getTracks() ?? []) track.stop();
  }
}
