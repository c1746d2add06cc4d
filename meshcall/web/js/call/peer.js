// One peer connection for one endpoint of the daemon (docs/page.md).
//
// Law 1: nothing of camera, microphone and files leaves, and nothing that arrives is shown, before the gate is open:
// the daemon has verified then who the other end is.
// Law 2: descriptions go to the daemon and come from it; this page never talks to a peer about them.
// Law 3: who answered the call is polite when both change the session at once.
// Law 4: a session has one section for the screens of both ends, whoever offered it.
// Law 5: a peer closes the studio that it made itself, never one that it was given: others use it, too.

import {encoding} from './layers.js';
import {CHANNEL, FileChannel} from './files/channel.js';
import {Studio} from './studio.js';

const FIRST_LAYER = {kind: 'camera', height: 180, fps: 15};  // of a meeting, until a member says what it can show
const GATHER_PATIENCE = 150;  // ms that a description waits for its first candidates
const POLL = 500;
const POLL_FIRST = 50;  // until sound and pictures have come,
const POLL_FIRST_ROOM = 200;  // and in a meeting, where all members come at once and each look costs
const FIRST = 10_000;
const SILENCE = 1200;  // ms without a packet where media flowed: the path is broken
const SILENCE_IDLE = 6000;  // the same where none flows: the browser's own checks come every 2.5 s
const FLOW = 200;  // octets between two looks: an open microphone in a silent room sends more
const RESTART_AFTER = 2500;  // ms without a packet after which ICE begins anew: where we are now is known then
const RESTART_PAUSE = 5000;  // ms that an offer may wait for its answer: by the DHT it takes some seconds
const RESTART_GATHER = 500;  // ms that a restart waits for candidates: they have to travel with it
const POLITE_PATIENCE = 3000;  // ms without a path in which the other end restarts, if it can

const encode = octets => btoa(String.fromCharCode(...new Uint8Array(octets)));
const decode = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

async function sha256(octets) {
  return encode(await crypto.subtle.digest('SHA-256', octets));
}

function localFingerprint(sdp) {
  const hex = /a=fingerprint:sha-256 ([0-9A-Fa-f:]+)/.exec(sdp)[1];
  return encode(Uint8Array.from(hex.split(':'), pair => parseInt(pair, 16)));
}

/** How many sections a description has. */
const sections = description => description.sdp.split(/^m=/m).length - 1;
const fragment = sdp => /a=ice-ufrag:(\S+)/.exec(sdp)?.[1];

/** The media of one call, or of one member of a meeting. Events: `stream`, `gate`, `path`, `stats`, `problem`, `closed`. */
export class Peer extends EventTarget {
  /**
   * @param {any} opening what the daemon said @param {(message: any) => void} tell
   * @param {Studio} [studio] what is sent; without one it makes its own
   */
  constructor(opening, tell, studio) {
    super();
    this.media = opening.media;
    this.peer = opening.peer;
    this.room = opening.room ?? '';
    if (this.room) this.#layers.camera = FIRST_LAYER;
    this.polite = Boolean(opening.remote);
    this.#owns = !studio;
    this.studio = studio ?? new Studio({audio: true, video: opening.camera});
    this.remote = new MediaStream();
    this.remoteScreen = null;
    this.gate = false;
    this.stats = null;
    this.path = '';
    this.#tell = message => tell({media: this.media, ...message});
    this.#pc = new RTCPeerConnection({
      iceServers: opening.servers, bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require',
    });
    this.#channel = this.#pc.createDataChannel('control', {negotiated: true, id: 0});
    this.#channel.binaryType = 'arraybuffer';
    this.files = this.room ? null  // a meeting passes no files
      : new FileChannel(this.#pc.createDataChannel(CHANNEL.label, CHANNEL.init), `${opening.media}-`);
    this.#wire();
    this.#begin(opening).catch(error => this.#fail(error));
  }

  #tell;
  #pc;
  #owns;
  #leave = new AbortController();
  #layers = {camera: null, screen: null};
  #setting = Promise.resolve();
  #channel;
  #described = false;
  #making = false;
  #ignoring = false;
  #settling = false;  // an answer is being taken: an offer that comes now waits for that, and crosses nothing
  #secured = false;
  #closed = false;
  #timer = 0;
  #heard = 0;
  #octets = -1;
  #checks = 0;
  #pair = '';
  #flow = [0, 0];
  #restarted = 0;
  #offers = 0;
  #offeredAt = 0;
  #played = new Set();
  #held = [];
  #totalled = 0;
  #counted = [0, 0];  // packets lost and received until the last look

  #wire() {
    const pc = this.#pc;
    pc.addEventListener('icecandidate', event => {
      if (this.#described && event.candidate)
        this.#tell({told: 'candidate', line: event.candidate.candidate});
    });
    pc.addEventListener('track', event => this.#arrived(event));
    pc.addEventListener('connectionstatechange', () => this.#stateChanged().catch(error => this.#fail(error)));
    pc.addEventListener('negotiationneeded', () => { if (this.gate) this.#negotiate(); });
    this.#channel.addEventListener('open', () => this.#tellSecured({told: 'control-open'}));
    this.#channel.addEventListener('message', event => {
      if (event.data instanceof ArrayBuffer) this.#tellSecured({told: 'control', data: encode(event.data)});
    });
    this.#channel.addEventListener('close', () => this.#ended('closed'));
    const {signal} = this.#leave;
    for (const name of ['stream', 'problem'])
      this.studio.addEventListener(name, event => this.dispatchEvent(
        new CustomEvent(name, {detail: /** @type {CustomEvent} */ (event).detail})), {signal});
    this.studio.addEventListener('track', event => {
      const {kind, track} = /** @type {CustomEvent} */ (event).detail;
      if (this.gate) this.#send(kind, track).catch(error => console.warn('a track was not sent:', error.name));
    }, {signal});
  }

  async #begin({audio, video, remote}) {
    await this.studio.open();
    if (this.#closed) return;
    if (remote) {
      await this.#pc.setRemoteDescription({type: 'offer', sdp: remote});
      for (const transceiver of this.#pc.getTransceivers()) {
        transceiver.direction = 'sendrecv';
        transceiver.sender.setStreams?.(this.studio.local);
      }
    } else {
      if (audio) this.#pc.addTransceiver('audio', {direction: 'sendrecv', streams: [this.studio.local]});
      if (video) this.#pc.addTransceiver('video', {direction: 'sendrecv', streams: [this.studio.local]});
    }
    await this.#pc.setLocalDescription();
    await this.#gathered();
    if (this.#closed) return;
    this.#described = true;
    this.#tell({told: 'described', kind: remote ? 'answer' : 'offer', sdp: this.#pc.localDescription.sdp});
  }

  /** Describe this end, with candidates if ICE begins anew. */
  async #describeLater() {
    const before = fragment(this.#pc.currentLocalDescription.sdp);
    await this.#pc.setLocalDescription();
    if (fragment(this.#pc.localDescription.sdp) !== before) await this.#gathered(RESTART_GATHER, true);
  }

  /** @param {number} [patience] ms @param {boolean} [anew] whether a state of now is an old one */
  #gathered(patience = GATHER_PATIENCE, anew = false) {
    return new Promise(resolve => {
      const timer = window.setTimeout(resolve, patience);
      const look = () => {
        if (this.#pc.iceGatheringState === 'complete') { window.clearTimeout(timer); resolve(); }
      };
      this.#pc.addEventListener('icegatheringstatechange', look);
      if (!anew) look();
    });
  }

  /** A message of the daemon about this endpoint. @param {any} message */
  async receive(message) {
    try {
      switch (message.do) {
        case 'remote': await this.#change(message); break;
        case 'candidates': await this.#addCandidates(message.lines); break;
        case 'gate': await this.#openGate(); break;
        case 'layer': this.#layers[message.kind] = message; this.#shape(message.kind); break;
        case 'control': if (this.#channel.readyState === 'open') this.#channel.send(decode(message.data)); break;
        case 'close': this.close(); break;
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A description of the peer; a later one that this browser can't take changes nothing. */
  async #change(message) {
    if (!this.gate) { await this.#describe(message); return; }
    try {
      await this.#describe(message);
    } catch (error) {
      console.warn('a change was refused:', error.name, error.message);
      if (this.#pc.signalingState === 'have-remote-offer') await this.#pc.setRemoteDescription({type: 'rollback'});
    }
  }

  async #describe({kind, sdp, round}) {
    const pc = this.#pc;
    // An answer to an offer that was taken back meanwhile
    if (kind === 'answer' && (pc.signalingState !== 'have-local-offer' || (round && round !== this.#offers))) return;
    const busy = this.#making || (pc.signalingState !== 'stable' && !this.#settling);
    const collides = kind === 'offer' && busy;
    this.#ignoring = !this.polite && collides;
    if (this.#ignoring) return;
    const before = pc.currentLocalDescription;
    this.#settling = kind === 'answer';
    try { await pc.setRemoteDescription({type: kind, sdp}); } finally { this.#settling = false; }
    if (kind !== 'offer') return;
    await this.#describeLater();
    const now = pc.localDescription;
    this.#tell({told: 'described', kind: 'answer', sdp: now.sdp, round});
    // Until an offer of ours is answered, Chromium would make the section of the screens anew when another offer is
    // taken back: it decodes what comes in it then, and shows nothing of it
    if (collides && sections(now) > sections(before)) await this.#negotiate();
  }

  async #addCandidates(lines) {
    for (const line of lines) {
      try {
        await this.#pc.addIceCandidate({candidate: line, sdpMid: this.#pc.getTransceivers()[0]?.mid ?? '0'});
      } catch (error) {
        if (!this.#ignoring) console.warn('a candidate was refused:', error.name);
      }
    }
  }

  async #negotiate() {
    try {
      this.#making = true;
      await this.#describeLater();
      if (this.#pc.signalingState !== 'have-local-offer') return;
      this.#offers += 1;
      this.#offeredAt = performance.now();
      this.#tell({told: 'described', kind: 'offer', sdp: this.#pc.localDescription.sdp, round: this.#offers});
    } catch (error) {
      console.warn('the session was not changed:', error.name);
    } finally {
      this.#making = false;
    }
  }

  #arrived(event) {
    if (this.#pictures().indexOf(event.transceiver) > 0) {
      this.remoteScreen = new MediaStream([event.track]);
      const look = () => this.dispatchEvent(new CustomEvent('stream'));
      event.track.addEventListener('mute', () => { this.remoteScreen = null; look(); });
      event.track.addEventListener('unmute', () => { this.remoteScreen = new MediaStream([event.track]); look(); });
    } else {
      this.remote.addTrack(event.track);
    }
    this.dispatchEvent(new CustomEvent('stream'));
  }

  async #stateChanged() {
    const state = this.#pc.connectionState;
    if (state === 'connected') {
      if (!this.#secured) {
        this.#secured = true;
        const certificate = await this.#certificate();
        if (!certificate) return;
        this.#tell({
          told: 'secured',
          local: localFingerprint(this.#pc.localDescription.sdp),
          remote: await sha256(certificate),
        });
        const held = this.#held;
        this.#held = null;
        for (const message of held) this.#tell(message);
        this.#heard = performance.now();
        this.#poll(performance.now() + FIRST);
      }
      await this.#look();
    } else if (state === 'failed') {
      if (this.#secured) this.#broken(); else this.#ended('failed');
    }
  }

  /** What the control channel says is told after the certificates that it was secured by. */
  #tellSecured(message) {
    if (this.#held) this.#held.push(message); else this.#tell(message);
  }

  /** The peer's certificate; it can be a moment later than the state that says it is there. */
  async #certificate() {
    for (let tries = 0; tries < 100 && !this.#closed; tries++) {
      const [certificate] = this.#pc.sctp?.transport?.getRemoteCertificates() ?? [];
      if (certificate) return certificate;
      await new Promise(resolve => { window.setTimeout(resolve, 20); });
    }
    return null;
  }

  async #openGate() {
    this.gate = true;
    for (const kind of /** @type {const} */ (['audio', 'video', 'screen'])) {
      const track = this.studio.track(kind);
      if (track) await this.#send(kind, track);
    }
    this.files?.openGate();
    this.dispatchEvent(new CustomEvent('gate'));
  }

  /** Send another track of a kind, or none. @param {'audio'|'video'|'screen'} kind @param {MediaStreamTrack|null} track */
  async #send(kind, track) {
    if (kind !== 'screen') {
      await this.#sender(kind)?.replaceTrack(track);
      if (kind === 'video' && track) this.#shape('camera');
      return;
    }
    const [, second] = this.#pictures();
    if (second) {
      await second.sender.replaceTrack(track);
      second.direction = track ? 'sendrecv' : 'recvonly';
    } else if (track) {
      // Not addTransceiver: what addTrack made takes the section that an offer of the peer's brings (RFC 9429 section
      // 5.10), where both begin to share at once
      this.#pc.addTrack(track, this.studio.screen);
    }
    if (track) this.#shape('screen');
  }

  /** Encode as large as the peer asked for, once it has. @param {'camera'|'screen'} kind */
  #shape(kind) {
    this.#setting = this.#setting.then(async () => {
      const asked = this.#layers[kind];
      const sender = this.#pictures()[kind === 'screen' ? 1 : 0]?.sender;
      if (!asked || !sender || this.#closed) return;
      const parameters = sender.getParameters();
      if (!parameters.encodings?.length) return;
      const source = this.studio.track(kind === 'screen' ? 'screen' : 'video')?.getSettings().height ?? 0;
      Object.assign(parameters.encodings[0], encoding(asked, source));
      await sender.setParameters(parameters);
    }).catch(error => console.warn('a layer was not set:', error.name));
  }

  /** The sender of microphone or camera. */
  #sender(kind) {
    return this.#pc.getTransceivers().find(one => one.receiver.track.kind === kind)?.sender;
  }

  /** What carries pictures: first the camera's, then the screen's. */
  #pictures() {
    return this.#pc.getTransceivers().filter(one => one.receiver.track.kind === 'video');
  }

  // --- what is seen of it ---

  #poll(until) {
    const waits = this.#played.size < 2 && performance.now() < until;
    this.#timer = window.setTimeout(async () => {
      await this.#look().catch(() => {});
      if (!this.#closed) this.#poll(until);
    }, waits ? (this.room ? POLL_FIRST_ROOM : POLL_FIRST) : POLL);
  }

  async #look() {
    if (this.#closed) return;
    const report = await this.#pc.getStats();
    const all = [...report.values()];
    const transport = all.find(one => one.type === 'transport');
    const pair = transport && report.get(transport.selectedCandidatePairId);
    const now = performance.now();
    const octets = transport?.bytesReceived ?? 0;
    const grown = octets - this.#octets;  // they become fewer when paths of before are forgotten
    const checks = pair ? pair.requestsReceived + pair.responsesReceived : 0;
    await this.#takeBack(now);
    if (grown > 0) this.#flow = [this.#flow[1], grown];  // the end of a stream may fall into the midst of one
    if (grown > 0 || (pair?.id === this.#pair && checks > this.#checks)) this.#heard = now;
    this.#octets = octets;
    this.#pair = pair?.id;
    this.#checks = checks;
    const flows = Math.max(...this.#flow) >= FLOW;
    const silent = now - this.#heard > (flows ? SILENCE : SILENCE_IDLE);
    if (silent) this.#broken();
    else if (pair) this.#pathFound(report, pair);
    const mids = this.#pictures().map(one => one.mid);
    this.stats = {...read(all, pair, mids), ...this.#lately(all)};
    if (now - this.#totalled >= POLL) {
      this.#totalled = now;
      this.#tell({told: 'totals', ...totals(all, pair, mids)});
    }
    for (const one of all)
      if (this.gate && one.type === 'inbound-rtp' && !this.#played.has(one.kind)
          && (one.framesDecoded > 0 || (one.kind === 'audio' && one.totalSamplesReceived > 0))) {
        this.#played.add(one.kind);
        this.#tell({told: 'played', kind: one.kind});
      }
    this.dispatchEvent(new CustomEvent('stats'));
  }

  /** The share of packets that were lost since the last look. */
  #lately(all) {
    const inbound = all.filter(one => one.type === 'inbound-rtp');
    const [lost, got] = ['packetsLost', 'packetsReceived'].map(what => inbound.reduce((sum, one) => sum + (one[what] ?? 0), 0));
    const [newLost, newGot] = [Math.max(0, lost - this.#counted[0]), Math.max(0, got - this.#counted[1])];
    this.#counted = [lost, got];
    return {recentLoss: newGot + newLost > 0 ? newLost / (newGot + newLost) : 0};
  }

  #pathFound(report, pair) {
    const end = one => ({kind: one.candidateType, address: one.address ?? '', port: one.port ?? 0});
    const [local, remote] = [report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)];
    if (!local || !remote) return;
    const message = {told: 'path', local: end(local), remote: end(remote)};
    const path = JSON.stringify(message);
    if (path === this.path) return;
    this.path = path;
    this.#tell(message);
    this.dispatchEvent(new CustomEvent('path'));
  }

  #broken() {
    const now = performance.now();
    if (this.path) {
      this.path = '';
      this.#tell({told: 'path-gone'});
      this.dispatchEvent(new CustomEvent('path'));
    }
    const patience = this.polite ? POLITE_PATIENCE : 0;
    if (this.gate && now - this.#heard >= RESTART_AFTER + patience && now - this.#restarted > RESTART_PAUSE) {
      this.#restarted = now;
      this.#restart().catch(error => console.warn('ICE was not restarted:', error.name));
    }
  }

  /** An offer that got no answer keeps back those of the peer; what it was about is offered again by itself. */
  async #takeBack(now) {
    if (this.gate && !this.#making && this.#pc.signalingState === 'have-local-offer'
        && now - this.#offeredAt > RESTART_PAUSE) {
      this.#offeredAt = now;
      await this.#pc.setLocalDescription({type: 'rollback'});
    }
  }

  /** Find paths anew. An offer that got no answer went with the old path: it is taken back. */
  async #restart() {
    if (this.#pc.signalingState === 'have-local-offer') await this.#pc.setLocalDescription({type: 'rollback'});
    this.#pc.restartIce();
  }

  // --- the end ---

  #fail(error) {
    if (this.#closed) return;
    const reason = error.name === 'NotAllowedError' || error.name === 'NotFoundError' ? 'no-device' : 'unsupported';
    this.#tell({told: 'ended', reason, detail: String(error.message).slice(0, 200)});
    this.close();
  }

  #ended(reason) {
    if (this.#closed) return;
    this.#tell({told: 'ended', reason, detail: ''});
    this.close();
  }

  /** Close everything. Idempotent. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    window.clearTimeout(this.#timer);
    this.#leave.abort();
    this.files?.close();
    this.#pc.close();
    if (this.#owns) this.studio.close();
    this.dispatchEvent(new CustomEvent('closed'));
  }
}

/** Finds the statistics of `audio`, `video` or `screen`. */
function finder(all, [camera, screen]) {
  const mids = {video: camera, screen: screen ?? ''};
  return (type, what) => all.find(one => one.type === type && (
    what === 'audio' ? one.kind === 'audio' : one.kind === 'video' && (one.mid ?? camera) === mids[what]));
}

function totals(all, pair, mids) {
  const find = finder(all, mids);
  const result = {audio_seconds: 0, rtt_ms: (pair?.currentRoundTripTime ?? 0) * 1000};
  for (const what of ['audio', 'video', 'screen']) {
    const [inbound, outbound] = [find('inbound-rtp', what), find('outbound-rtp', what)];
    const codec = inbound && all.find(one => one.id === inbound.codecId);
    result[what] = {
      frames_sent: outbound?.framesEncoded ?? outbound?.packetsSent ?? 0,
      frames_received: inbound?.framesDecoded ?? inbound?.packetsReceived ?? 0,
      packets_lost: Math.max(0, inbound?.packetsLost ?? 0),
      codec: (codec?.mimeType ?? '').split('/')[1]?.slice(0, 32) ?? '',
      height: inbound?.frameHeight ?? 0,
    };
    if (what === 'audio') result.audio_seconds = inbound?.totalSamplesDuration ?? 0;
  }
  return result;
}

/** What the statistics panel shows. */
function read(all, pair, mids) {
  const find = finder(all, mids);
  const [picture, sound] = [find('inbound-rtp', 'video') ?? {}, find('inbound-rtp', 'audio') ?? {}];
  const sent = find('outbound-rtp', 'video') ?? {};
  const lost = (picture.packetsLost ?? 0) + (sound.packetsLost ?? 0);
  const got = (picture.packetsReceived ?? 0) + (sound.packetsReceived ?? 0);
  return {
    rtt: pair?.currentRoundTripTime ?? null,
    width: picture.frameWidth ?? 0,
    height: picture.frameHeight ?? 0,
    rate: picture.framesPerSecond ?? 0,
    sentWidth: sent.frameWidth ?? 0,
    sentHeight: sent.frameHeight ?? 0,
    sentRate: sent.framesPerSecond ?? 0,
    sentScreen: find('outbound-rtp', 'screen')?.framesEncoded ?? 0,
    loss: got + lost > 0 ? Math.max(0, lost) / (got + lost) : 0,
    available: pair?.availableOutgoingBitrate ?? null,
    decoded: picture.framesDecoded ?? 0,
    packets: picture.packetsReceived ?? 0,
    keyframesWanted: picture.pliCount ?? 0,
    soundSeconds: sound.totalSamplesDuration ?? 0,
    level: sound.audioLevel ?? 0,
  };
}
