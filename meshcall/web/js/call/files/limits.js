// Every cap of files in a call, each with its reason, or the attack that it stops. Sizes in octets, times in ms.

/** Of one chunk: what else the two pages say waits for the message under way (chat behind a file). */
export const CHUNK = 16 * 1024;

/** Of one file: it is in the browser's memory, or its part of the disk, until it is saved. */
export const FILE_MAX = 2 ** 30;

/** Of UTF-8 in a name that a peer sends (memory); what is shown and saved is cleaned and has NAME_MAX. */
export const NAME_SENT_MAX = 1024;

/** Of UTF-8 in a cleaned name: file systems take 255, and the browser may write " (1)" behind it. */
export const NAME_MAX = 200;

/** Of an ending that stays when a name is cut. */
export const ENDING_MAX = 16;

/** Chunks that are on their way without being acknowledged; a peer that sends more is no peer of ours (memory). */
export const WINDOW_MAX = 64;

/** Chunks on their way at least, however long acknowledgements take: a slow path still has to move. */
export const WINDOW_MIN = 1;

/** Chunks on their way at first. */
export const WINDOW_FIRST = 8;

/** What an acknowledgement may take longer than the fastest one: beyond it sound and pictures begin to queue. */
export const DELAY_MAX = 50;

/** Chunks that are read from a file at once. */
export const BLOCK = 16;

/** Octets in the browser's queue above which nothing more is put there, and below which more is. */
export const BUFFER_HIGH = 256 * 1024;
export const BUFFER_LOW = 64 * 1024;

/** Files of ours that wait for their turn (a folder of thousands that was dropped by mistake). */
export const QUEUE_MAX = 32;

/** Offers of a peer that came to nothing, and broken rules, in one call: then it is asked about no more (a peer
 * that offers again and again). */
export const STRIKES_MAX = 16;

/** From the gate to the peer's hello: a page says it at once, whoever takes no files never does. */
export const HELLO_PATIENCE = 3000;
