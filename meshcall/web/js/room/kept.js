// The meeting that this browser is in: a tab that is loaded anew, or takes over from another, goes on there.
//
// Law 1: what a tab goes back to is its own; what another tab is in is known only to be taken over.
// Law 2: who was muted comes back muted, and who had no camera without one.

const MEETING = 'meeting';

/** Go back there. @param {{room: string, audio: boolean, video: boolean}} meeting */
export function keep(meeting) {
  for (const storage of [window.sessionStorage, window.localStorage]) storage.setItem(MEETING, JSON.stringify(meeting));
}

/** What this tab goes back to, or null. @returns {{room: string, audio: boolean, video: boolean}|null} */
export function kept() { return JSON.parse(window.sessionStorage.getItem(MEETING) ?? 'null'); }

/** This browser is in no meeting any more. */
export function forget() {
  for (const storage of [window.sessionStorage, window.localStorage]) storage.removeItem(MEETING);
}

/** This tab is the first one here: what an earlier one left behind is over, but for what this one was in. */
export function begin() { if (!kept()) forget(); }

/** What the tab that has the calls is in, is this one's from now on. */
export function takeOver() {
  const meeting = window.localStorage.getItem(MEETING);
  if (meeting) window.sessionStorage.setItem(MEETING, meeting); else forget();
}

/** Another tab goes on. */
export function handOver() { window.sessionStorage.removeItem(MEETING); }
