// How well a member comes through, in one word. Pure.

const FAIR = {loss: 0.03, rtt: 0.3};
const POOR = {loss: 0.1, rtt: 0.8};

/**
 * @param {{loss: number, rtt: number|null, path: string}} seen loss of what was sent lately, 0 to 1; rtt in seconds
 * @returns {'good'|'fair'|'poor'}
 */
export function quality({loss, rtt, path}) {
  const beyond = most => loss > most.loss || (rtt ?? 0) > most.rtt;
  if (!path || beyond(POOR)) return 'poor';
  return beyond(FAIR) ? 'fair' : 'good';
}
