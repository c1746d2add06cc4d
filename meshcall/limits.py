"""Every cap and timer default, each with its reason: an RFC section, or the attack it stops.

Law: a collection that the network feeds has a cap here, and nowhere else.
Times are in seconds unless a name says otherwise; sizes in octets.
"""

from __future__ import annotations

from typing import Final

# --- datagrams ------------------------------------------------------------------------------------

DATAGRAM_MAX: Final = 1200
"""No frame is larger: fits every path with MTU 1280 (RFC 8200 section 5) with room for a tunnel."""

# --- time -----------------------------------------------------------------------------------------

CLOCK_SKEW_MAX: Final = 120
"""How far two clocks may differ before a record is refused (replay of old records)."""

EPOCH: Final = 900
"""How long one rendezvous key serves (who-calls-whom tracking by storage nodes)."""

# --- rooms: links and letters ---------------------------------------------------------------------

ROOM_LINK_RING: Final = 8.0
"""Seconds that the offer of a link waits for its answer: machines answer at once or not at all, but for those
that have to load their media first."""

ROOM_LINKS_PER_SECOND: Final = 0.5
ROOM_LINKS_BURST: Final = 6.0
"""Links that one member may begin: a network that comes and goes takes a few, and each costs an endpoint
(a member that begins anew and anew)."""

ROOM_LINKS_ENDED_MAX: Final = 32
"""Links that ended and are remembered, so that late messages of theirs begin nothing (memory)."""

ROOM_ASKERS_MAX: Final = 64
"""Peers whose last letter about a room is remembered, to answer it (strangers who ask to be let in)."""

ROOM_ANSWER_WITHIN: Final = 15.0
"""Seconds in which an answer goes where the letter came from: who waits to be let in writes every five."""

ROOM_LETTERS_UNDER_WAY: Final = 4
"""Letters to one peer that are being delivered at once; the oldest gives way (a peer that is not found)."""

ROOM_LETTER_LIFE: Final = 30.0
"""Seconds for which a letter about a room is valid, and its answer is waited for."""

ROOMS_JOINED_MAX: Final = 4
"""Rooms that one machine is in at once: as many as it announces."""

ROOM_ID_SHORT: Final = 4
"""Digits of a room's ID that name it on the command line."""

ROOM_ANNOUNCE_PAUSE: Final = 0.3
"""Seconds between two announcements of other member counts (everybody who comes or goes changes them)..."""
ROOM_ANNOUNCE_BURST: Final = 4.0
"""...after a few that leave at once: who makes a room, or goes into another, is seen with no wait."""

ROOM_REACHED_MAX: Final = 16
"""Members whose address is remembered because they were found by it (memory)."""

ROOM_REACHED_LIFE: Final = 30.0
"""Seconds for which a room that was found by address is shown like those of the LAN."""

ROOM_REACH_PAUSE: Final = 1.0
"""Seconds between two questions to a machine that was named by its address, until it has been found."""

ROOM_TOLD_WITHIN: Final = 2.0
"""Seconds within which a page is told that its room is over: what it says of itself till then is no error."""

ROOM_TELL_PAUSE: Final = 0.1
"""Seconds between two events that show the same room, or the rooms of the LAN (members that toggle)."""

ROOM_BOXES_MAX: Final = 24
"""Of the reply boxes, those that letters about rooms may have: calls keep the rest."""

# --- call: control channel ------------------------------------------------------------------------

WORDS_MAX: Final = 200
"""Octets of what is said with a refused call: one line, in the small class of sealed messages."""

CONTROL_ROOM_MAX: Final = 16 * 1024 - 1
"""Octets of a room's message on the control channel: a whole message of it, without its type."""

CHAT_MAX: Final = 8192
"""Octets in one chat text (memory held by an unread flood)."""

# --- identity -------------------------------------------------------------------------------------

PEER_ID_TEXT_MAX: Final = 256
"""Characters that are looked at when somebody pastes an ID: the ID is 56, the rest dashes and spaces
(memory)."""

PEER_ID_CACHE: Final = 4096
"""Keys whose curve check is remembered: a call checks the same key many times, a flood of keys must not
grow."""

URI_TEXT_MAX: Final = 1024
"""Characters of a link or an invite that are looked at (memory held by a pasted document)."""

NAME_MAX: Final = 64
"""Octets of UTF-8 in a name that a peer gives itself: one line on a phone, and it shares a datagram."""

SECRET_TEXT_MAX: Final = 64
"""Characters of the secret in a link; 26 carry 128 bits, the rest is room for longer ones."""

PREKEY_ROTATION: Final = 24 * 3600
"""A prekey is published for this long (forward secrecy of recorded records)."""

PREKEY_LIFETIME: Final = 48 * 3600
"""Then its private half is deleted: records sealed to it can't be opened even with the whole disk."""

PREKEYS_MAX: Final = 8
"""Private prekeys held; two are normal, a clock that jumps about makes more (disk and memory)."""

ARGON2_MEMORY: Final = 64 * 1024
"""KiB for Argon2id: RFC 9106 section 4, second recommended option (guessing a stolen key's passphrase)."""

ARGON2_ITERATIONS: Final = 3
"""Passes for Argon2id: RFC 9106 section 4, second recommended option; about 0.2 s."""

ARGON2_LANES: Final = 1
"""Lanes for Argon2id: one, since threads do not help a small machine."""

ARGON2_MEMORY_MAX: Final = 1024 * 1024
"""KiB that a key file may ask for (a tampered file that asks for all memory)."""

ARGON2_ITERATIONS_MAX: Final = 64
"""Passes that a key file may ask for (a tampered file that never finishes)."""

SAS_NONCE: Final = 16
"""Octets of a verification nonce: nobody finds a second nonce for a commitment."""

# --- signaling: invites ---------------------------------------------------------------------------

INVITE_SECRET: Final = 16
"""Octets of an invite's secret: 128 bits can't be guessed."""

INVITES_SERVED_MAX: Final = 8
"""Open invites whose rendezvous are watched, the newest: each costs a lease at 8 nodes (our own traffic)."""

INVITE_NODES_MAX: Final = 3
"""Bootstrap nodes in an invite: its QR code stays readable (a link that makes us contact many hosts)."""

INVITE_GATEWAYS_MAX: Final = 2
"""Gateways in an invite, for who has no UDP (a link that a person can still send)."""

# --- aio: files -----------------------------------------------------------------------------------

STATE_FILE_MAX: Final = 4 * 1024 * 1024
"""Octets of a state file that are read (a file that grew without end)."""

KEY_FILE_MAX: Final = 4096
"""Octets of a key file that are read; a real one has less than 200."""

STATE_CONTACTS_MAX: Final = 10_000
"""Contacts kept (somebody who imports without end)."""

STATE_SEQUENCES_MAX: Final = 1024
"""Sequence counters kept, the most recently used; each epoch makes new ones (disk)."""

SEQUENCES_SPARE: Final = 10_000
"""Sequence numbers, which are milliseconds, that are on the disk before they are used: ten seconds of letters
wait for the disk once. After a crash the next ones begin above them, so more would be ahead of the clock for
longer (a state that is lost then begins below numbers that were used)."""

STATE_REPLAY_MAX: Final = 16_384
"""Replay entries kept; when full, unknown messages are refused until one expires (flood of fresh
identities)."""

STATE_INVITES_MAX: Final = 1000
"""Open invites kept (disk)."""

STATE_HISTORY_MAX: Final = 10_000
"""Calls kept in the history, the newest (disk)."""

STATE_ROOMS_MAX: Final = 64
"""Rooms remembered; those that we left longest ago go first (disk)."""

STATE_HISTORY_STRANGERS_MAX: Final = 1000
"""Of these, calls with who is no contact (strangers who ring to push the calls of contacts out)."""

STATE_PEERS_MAX: Final = 4096
"""Peers whose last addresses are kept, the most recently seen (flood of announcements)."""

STATE_ADDRESSES_PER_PEER_MAX: Final = 8
"""Last addresses kept of one peer."""

STATE_BLOB_MAX: Final = 1024 * 1024
"""Octets of one opaque state value, such as a saved routing table."""

# --- dht ------------------------------------------------------------------------------------------

NODE_ID_SIZE: Final = 20
"""Octets of a node id and of a storage key, exactly (padded or longer ids crash or split tables for ever)."""

DHT_K: Final = 20
"""Contacts in a bucket and nodes in a reply (the Kademlia paper's k)."""

DHT_REPLICAS: Final = 8
"""How many of the closest nodes hold a record or a watch: survives 40 % dead with 99.9 %."""

DHT_ALPHA: Final = 6
"""Requests of one lookup in flight and not yet late: fewer are slow among dead nodes, more are only load."""

DHT_PER_NETWORK: Final = 2
"""Places of one public /24 or /48 in a bucket and in a result (many ids at one cheap block of addresses)."""

DHT_EVICTION_IDLE: Final = 60.0
"""A contact silent for this long is pinged when somebody waits for its place (Kademlia paper section 2.2)."""

DHT_PATHS: Final = 2
"""Disjoint paths of a lookup for a key that strangers can predict (liars that name only each other)."""

DHT_SPLIT_DEPTH: Final = 2
"""Bits of the id space in which every bucket splits: contacts near any key, so one hop less."""

DHT_REQUESTS_PER_SECOND: Final = 50
DHT_REQUESTS_BURST: Final = 200
"""Requests of one address (IPv6: of one /64) that are looked at: a flood from one machine."""

DHT_READS_PER_SECOND: Final = 5000
"""Pings and finds answered in all: 50 us each, so a quarter of a core (floods from invented addresses)."""

DHT_WRITES_PER_SECOND: Final = 1500
"""Requests with a good token carried out in all: 150 us each, mostly one signature (floods from a botnet)."""

DHT_PUSHES_PER_SECOND: Final = 500
"""Pushes looked at in all, from nodes that hold our watches: nobody else takes their place (a botnet whose
members all hold tokens)."""

DHT_LIMITER_KEPT: Final = 4096
"""Addresses whose requests are counted; the longest silent is forgotten (floods from invented addresses)."""

DHT_DIAL_PROOFS: Final = 3
"""Networks from which strangers must have reached us before others may route through us (HyperDHT's rule)."""

DHT_DIAL_STABLE: Final = 600.0
"""Seconds that we must have been reachable at one address by then (nodes that come and go harm a table)."""

DHT_DIAL_LIFE: Final = 1800.0
"""Seconds after which a proof of reachability is worth nothing: mappings and firewalls change."""

DHT_DIAL_INTERVAL: Final = 20.0
DHT_DIAL_INTERVAL_MAX: Final = 100.0
DHT_DIAL_INTERVAL_PROVEN: Final = 300.0
"""Seconds between requests to be dialled; doubled while none succeeds, and the last when enough did."""

DHT_DIAL_QUIET: Final = 200.0
"""A dial proves something only from an IP that we sent nothing to for this long: a NAT would let it pass."""

DHT_DIAL_WAIT: Final = 5.0
"""Seconds that a dial may take to come; a nonce that is shown later proves nothing (a guess, a replay)."""

DHT_DIAL_NONCES_KEPT: Final = 16
"""Requests to be dialled whose nonce is waited for (memory; few are under way at a time)."""

DHT_DIALS_PER_SECOND: Final = 5
"""Dials that a node makes or passes on for others (it is asked to send to an address that another names)."""

DHT_DIAL_PAUSE: Final = 10.0
"""Seconds before the same IP address is dialled again from here (a victim that many nodes are sent to)."""

DHT_CONTACTED_KEPT: Final = 4096
"""IP addresses that we sent to lately: no dial from them counts."""

DHT_BUCKETS_MAX: Final = 160
"""Buckets of a table: one per bit of an id (ids that can't be told apart would split for ever)."""

DHT_LOOKUP_RPCS_MAX: Final = 64
"""Requests of one lookup ("ever closer nodes" replies must not keep it going)."""

DHT_LOOKUP_TIME_MAX: Final = 10.0
"""Seconds after which a lookup ends with what it has (nodes that answer as late as they may)."""

DHT_LOOKUP_CANDIDATES_MAX: Final = 128
"""Nodes a lookup remembers; who named most loses the farthest (replies full of invented nodes)."""

DHT_LOOKUP_CREDIT: Final = 3
DHT_DELIVER_CREDIT: Final = 5
"""Nodes named by one node that a lookup, or that of a deliver, asks before any answers (replies full of
invented nodes: each costs so many requests, and not all that a lookup has)."""

DHT_LOOKUP_CREDIT_ANSWERED: Final = 2
"""What each of them that answers adds to that: many honest nodes name dead ones, too."""

DHT_FIND_VALUES_MAX: Final = 64
"""Distinct records one find hands out (a flooded key must not flood the reader)."""

DHT_FIND_QUORUM: Final = 3
"""Answers a find waits for once it has a record: one old or lying holder does not decide."""

DHT_REPAIRS_MAX: Final = 4
"""Copies of a presence that one find puts where they are missing: a reader's work for others has a bound."""

DHT_REPAIR_LIFE_MIN: Final = 60
"""Seconds that a record must still live to be put where it is missing (copies that bring back the dead)."""

DHT_VALUES_PER_KEY: Final = 16
"""Records under one key that a reply tells of (a key flooded with records would fill every reply)."""

DHT_DELIVER_SENDS_MAX: Final = 16
"""Copies of a record that one deliver sends: about 16 KB for a call attempt."""

DHT_SOFT_TIMEOUT_MIN: Final = 0.1
DHT_SOFT_TIMEOUT_MAX: Final = 1.0
"""Bounds of the time after which a request is repeated and the next node tried (RFC 6298 estimate + 20
ms)."""

DHT_SOFT_TIMEOUT_UNKNOWN: Final = 0.2
"""The same for a node whose round trip is not known yet: most of the internet answers within it, and a dead
node in the way costs a lookup no more."""

DHT_HARD_TIMEOUT: Final = 1.5
"""After this a request has failed; until then a late reply is welcome. Silent nodes hold memory no longer."""

DHT_NOTIFY_RETRY: Final = 0.2
"""A notify that was not acknowledged is sent once more after this: somebody waits for the phone to ring."""

DHT_DELIVER_ALPHA: Final = 10
"""``DHT_ALPHA`` of a deliver: a call waits for it, so more nodes are asked at once."""

DHT_DELIVER_VERDICT: Final = 2.5
"""Seconds after which a deliver says that nobody watches, though late nodes might still answer."""

DHT_ACK_WAIT: Final = 1.0
"""Seconds that a deliver which was pushed stays to hear whether a watcher has it."""

DHT_ACKS_KEPT: Final = 1024
"""Delivers of which acknowledgements are awaited or owed; each for at most ``DHT_ACK_LIFE`` (delivers to keys
whose watchers never acknowledge)."""

DHT_ACK_LIFE: Final = 5.0
"""Seconds after which a watcher's acknowledgement is not passed on any more (one kept back to be sent at
somebody later)."""

DHT_ACKS_PER_DELIVER: Final = 4
"""Acknowledgements that one deliver sets off: octets to the sender stay few, whoever watches."""

DHT_FAILURES_MAX: Final = 2
"""Failed requests in a row after which a contact leaves the table: one may be lost by chance, two rarely."""

DHT_FIND_REQUEST_MIN: Final = 432
"""Find requests are padded to this: a reply of 1,200 octets and a challenge together are no amplification."""

DHT_PING_REQUEST_MIN: Final = 96
"""A ping with a challenge is padded to this: signed reply and challenge back are below three times as
long."""

DHT_AMPLIFICATION_MAX: Final = 3
"""Octets sent per octet received to an address that has shown no token (as in RFC 9000 section 8)."""

DHT_TOKEN_ROTATION: Final = 300.0
"""Seconds a token secret is used; the one before it is still accepted (BEP 5)."""

DHT_TOKENS_KEPT: Final = 1024
"""Tokens of others that we remember, for at most one rotation (memory, as every reply brings one)."""

DHT_WATCH_LEASE: Final = 30.0
"""Longest lease of a watch: dead watchers are forgotten, renewals keep the NAT mapping (RFC 4787 REQ-5)."""

DHT_WATCH_RENEW: Final = 10.0
"""Seconds between renewals, up to 2 s more by chance: dead holders are noticed and replaced in 15 s."""

DHT_RESUME: Final = 60.0
"""A gap of so many seconds between two inputs, which timers make impossible, is a machine that slept."""

DHT_REVERIFY_MAX: Final = 64
"""Contacts challenged at once when our network has changed: a burst of 6 KB, whatever the table holds."""

DHT_WATCH_LOOKUP: Final = 60.0
"""Seconds between looks for nodes closer to a watched key than its holders: callers look for the closest."""

DHT_WATCHERS_PER_KEY: Final = 16
"""Watchers that a node keeps for one key: what one deliver may fan out to."""

DHT_WATCHES_PER_IP: Final = 256
"""Watches that a node keeps for one IP address (several peers may share a NAT)."""

DHT_WATCHES_MAX: Final = 8192
"""Watches that a node keeps in all (a botnet that watches keys without end)."""

DHT_PUSH_STORED_MAX: Final = 16
"""Stored records that are pushed to a new watcher (one small watch request sets off so many datagrams)."""

DHT_VERIFY_MAX: Final = 32
"""Challenges to would-be contacts that may be open at a time (junk from many addresses)."""

DHT_WITNESSES_MIN: Final = 4
"""Nodes that must have told our public address before a proof that names another one is refused (relays)."""

DHT_SIGNATURES_PER_SECOND: Final = 500
"""Challenges a node signs: 70 us each, so 4 % of a core (ping floods)."""

DHT_UNREACHABLE_KEPT: Final = 1024
DHT_UNREACHABLE_TIME: Final = 60.0
"""Addresses that did not answer are left out of lookups for this long; how many are remembered (replies that
name dead addresses again and again)."""

DHT_RTT_KEPT: Final = 1024
"""Round-trip estimates that are remembered (memory, as lookups meet ever new addresses)."""

DHT_NOTIFIED_KEPT: Final = 1024
"""Digests of records already handed to the application (each of 8 holders pushes the same one)."""

DHT_REPLIES_KEPT: Final = 512
"""Replies to writes kept so that a repeated request is answered and not carried out again."""

DHT_REPLY_LIFE: Final = 10.0
"""Seconds that such a reply is kept: a repetition comes within ``DHT_HARD_TIMEOUT``."""

DHT_PUSHED_KEPT: Final = 4096
"""(record, watcher) pairs that were pushed or noted lately (floods of delivers to many watchers)."""

DHT_PUSH_PAUSE: Final = 5.0
"""Seconds in which one record is not pushed to one watcher again (a deliver repeated to make us flood it)."""

DHT_HOLDERS_KEPT: Final = 4096
"""Nodes that we asked to hold a watch, by key: notifies of all others are refused (floods of records)."""

DHT_RECENT_KEPT: Final = 256
"""Keys whose closest nodes are remembered from their last lookup (memory)."""

DHT_OBSERVED_KEPT: Final = 16
"""Witnesses of our own address, the latest (a few liars among them are outvoted)."""

DHT_NOTIFIED_LIFE: Final = 7200.0
"""Seconds that the digest of a record handed out is remembered: no record lives longer (replays)."""

DHT_OPEN_REQUESTS_MAX: Final = 4096
"""Requests of our own that wait for a reply (floods that make us challenge or push to silent addresses)."""

DHT_SEEDS_MAX: Final = 64
"""Addresses to start from when the tables are empty (a saved table or an invite that names very many)."""

DHT_CONTACT_IDLE: Final = 300.0
"""A contact not heard of for this long is pinged: others are told of it, and if it is dead it costs them
time."""

DHT_MAINTENANCE_INTERVAL: Final = 5.0
"""Seconds between looks at idle contacts, expired records and leases: a dead record is gone within a minute,
and a machine that slept is noticed."""

DHT_REFRESH_INTERVAL: Final = 900.0
"""Seconds after which a bucket without a lookup gets one: ranges that nobody asks for would fill with the
dead (Kademlia paper section 2.3, which takes an hour)."""

DHT_SAVED_CONTACTS_MAX: Final = 200
"""Contacts in the saved table: as many as a table of thousands of nodes has, and no file grows."""

DHT_PING_TRIES: Final = 2
"""Pings that `dht ping` sends before it says that nobody is there; each is repeated once by itself."""

DHT_PING_ADDRESSES_MAX: Final = 4
"""Addresses of one name that `dht ping` tries (a name that somebody else controls)."""

DHT_SAVE_INTERVAL: Final = 300.0
"""Seconds between saves of the table: a crash loses no more."""

DHT_STATE_MAX: Final = 65536
"""Largest saved table that is read (a file that grew without end)."""

UDP_BATCH: Final = 64
"""Datagrams that nobody waits for handled per wake-up; more that came with them are dropped, so that a flood
can't keep timers and calls waiting."""

UDP_DRAIN: Final = 512
"""Datagrams taken from the kernel per wake-up: dropping one of a flood costs a tenth of handling it, and the
buffer has room again for what is waited for."""

UDP_TRAIN: Final = 60
"""Datagrams sent by one system call at most (Linux takes 64)."""

UDP_BUFFER: Final = 4 << 20
"""Socket buffers asked for (the system may give less): a key frame of video is a burst of hundreds of
datagrams, and a flood brings a thousand in a tenth of a second that the process does not run."""

# --- record ---------------------------------------------------------------------------------------

PRESENCE_TTL_MAX: Final = 7200
"""Seconds a storage node keeps a presence (BEP 44 expires mutable items after 2 hours too)."""

MESSAGE_TTL_MAX: Final = 600
"""Seconds a storage node keeps a sealed message: who comes back within that finds what it missed."""

RECORD_STORE_VALUES: Final = 4096
"""Values kept for others (storage exhaustion)."""

RECORD_STORE_OCTETS: Final = 4 * 1024 * 1024
"""Octets of values kept for others (storage exhaustion)."""

RECORDS_PER_SOURCE: Final = 64
"""Values kept from one IPv4 address or IPv6 /64 (one host fills the store)."""

RECORDS_PER_NETWORK: Final = 512
"""Values kept from one IPv4 /24 or IPv6 /48 that is not a LAN (one network fills the store)."""

RECORDS_PER_KEY_AND_TYPE: Final = 8
"""Values of one type under one storage key, so 16 per key, as two types at most share one (a flood of an
inbox by somebody who knows the ID; messages can't crowd out the presence that shares their key)."""

REPUBLISH_INTERVAL: Final = 600
"""Seconds between two stores of an own record, at most: nodes that held the last copy leave."""

REPUBLISH_RETRY: Final = 10
"""Seconds until the first retry when no node took an own record; doubles up to the interval."""

# --- signaling: envelopes -------------------------------------------------------------------------

BODY_MAX: Final = 610
"""Octets of a message body: what the larger padding class leaves (one record, one datagram)."""

SECRET_MAX: Final = 32
"""Octets of a secret in a contact request."""

ROOM_TAG_MIN: Final = 8
"""Octets of the tag in the offer of a room's link: two rooms of one machine never share it by chance."""

ROOM_TAG_MAX: Final = 16
"""Octets of that tag: all of a room's id."""

MISSED_CALLS_MAX: Final = 8
"""Calls that one missed-call note names: it fits the smaller class, so its size tells nothing."""

VALID_MAX: Final = 300
"""Seconds a sealed message may claim to be valid (a recorded offer that rings much later)."""

VALID_DEFAULT: Final = 90
"""Seconds a sealed message is valid unless its sender says otherwise: how long people let it ring, and a
bit."""

EPOCH_OVERLAP: Final = 120
"""Seconds around an epoch's boundary in which both rendezvous serve: clocks differ by CLOCK_SKEW_MAX at
most."""

REPLAY_PER_SENDER: Final = 256
"""Messages of one sender remembered until they expire; more are refused (one peer fills the cache)."""

REPLAY_TOTAL: Final = 16_384
"""Messages remembered in all; more are refused, none is forgotten early (a flood that flushes out a
replay)."""

# --- ice and signaling/description ----------------------------------------------------------------

CANDIDATES_MAX: Final = 12
"""Candidates kept of one peer: each one is an address of its choice that gets our checks (reflection;
RFC 8445 section 5.1.3 asks for a limit too)."""

CANDIDATES_PER_ADDRESS_MAX: Final = 4
"""Candidates kept with one IP address: more would be a port scan in a third party's name."""

CANDIDATE_PORT_MIN: Final = 1024
"""Peers' candidates with lower ports are dropped: those are servers, not sockets of a call."""

CANDIDATE_PRIORITY_MAX: Final = 2**31 - 1
"""RFC 8445 section 5.1.2."""

SECTIONS_MAX: Final = 16
"""m-sections of a description: camera, microphone, data and some screens (memory and file descriptors)."""

CODECS_MAX: Final = 15
"""Codecs of one m-section: the count is four bits."""

EXTENSIONS_MAX: Final = 15
"""Header extensions of one m-section: the count is four bits, the ids of RFC 8285 section 4.2 are 14."""

UFRAG_MIN: Final = 4
"""ICE username fragment, characters (RFC 8839 section 5.4)."""

UFRAG_MAX: Final = 32
"""The RFC allows 256; no implementation makes more than 32, and a datagram is small."""

PWD_MIN: Final = 22
"""ICE password, characters: 128 bits (RFC 8839 section 5.4)."""

PWD_MAX: Final = 64
"""The RFC allows 256; no implementation makes more than 32, and a datagram is small."""

MID_MAX: Final = 16
"""Media identification, characters: what a one-byte header extension can hold (RFC 8285 section 4.2)."""

MESSAGE_SIZE_MIN: Final = 1024
"""Smallest `max-message-size` we accept: control messages must fit."""

DESCRIPTION_MAX: Final = 610
"""An encoded description, octets: the room in the larger class of sealed records."""

# --- call -----------------------------------------------------------------------------------------

CALL_RING: Final = 60.0
"""How long a caller lets the peer ring unless told otherwise."""

CALL_RING_MAX: Final = 3600.0
"""The longest ringing a caller may ask for (an offer that keeps sockets open for days)."""

CALL_LOOKUP: Final = 12.0
"""How long the machine waits for a look-up's result: a look-up itself ends within 10 s."""

CALL_LOOKUP_EVERY: Final = 2.0
"""Pause between look-ups while waiting for a peer that is offline."""

CALL_OFFLINE_AFTER: Final = 2.8
"""So long after the call's begin a callee whose machine has not acknowledged the offer is taken as offline:
who calls knows it within 3 s."""

CALL_OFFLINE_LEAST: Final = 1.5
"""But not sooner after the offer: it has to get there, and its acknowledgement back."""

CALL_ACK: Final = 0.5
"""So long after a node said that it pushed the offer its acknowledgement may take: a few round trips."""

CALL_OFFER_LIFE: Final = 90.0
"""How long an offer is valid at least: the callee may come back or hesitate."""

CALL_OFFER_LIFE_MAX: Final = 300.0
"""How long an offer is valid at most (replay: the callee keeps what it has seen for this long)."""

CALL_OFFER_REFRESH: Final = 15.0
"""An offer still waiting is sealed anew this long before its life ends."""

CALL_RESEND: Final = 1.0
"""First pause before an unanswered message is sent again (RFC 8489 section 6.2.1: doubled each time)."""

CALL_RESEND_MAX: Final = 8.0
"""Longest pause between two copies of an offer."""

CALL_RESENDS_REPLY: Final = 3
"""Further copies of a ringing or an answer: what the caller has not got by then, it will not get."""

CALL_ENDPOINT: Final = 10.0
"""How long our own media endpoint may take to make a description (an endpoint that hangs)."""

CALL_PATH: Final = 10.0
"""From the answer to a working ICE pair; after it the user is told that there is no path."""

CALL_CONFIRM: Final = 5.0
"""For the DTLS handshake after ICE, and again for both confirms after it (a peer that stalls unproven)."""

CALL_EARLY_CANDIDATES_MAX: Final = 8
"""Candidates messages kept until the description they belong to is there (memory)."""

CALL_OFFERS_MAX: Final = 3
"""Offers of one call whose replies are awaited: the one that lives, and those that may still ring there."""

CALL_PATH_STEPS_MAX: Final = 64
"""Changes of path that a call's timeline keeps (a path that flaps for hours)."""

CALL_OTHER_IDS_MAX: Final = 16
"""Ids of the same peer's other attempts that one call remembers (memory)."""

# --- media: receiving -----------------------------------------------------------------------------

AUDIO_TARGET_MIN: Final = 0.02
"""Seconds that sound waits at least before it is played: a wake-up that comes late costs nothing then."""

AUDIO_TARGET_FIRST: Final = 0.02
"""Likewise as long as nothing is known of the network's jitter: a call's first sound waits for it."""

AUDIO_TARGET_MAX: Final = 0.12
"""Likewise at most, however much the network jitters: people begin to talk at once beyond (ITU-T G.114)."""

UNTAKEN_WAIT: Final = 0.25
"""Seconds that sound and pictures which nobody takes may wait for their decoder, so that several are
decoded at once: a wake-up costs as much as a picture of a tile, and a decoder that goes on finds its
pictures in the cache.
Counts are behind for so long."""

AUDIO_MARGIN: Final = 0.01
"""Seconds on top of what the jitter asks for."""

AUDIO_IN_TIME: Final = 0.95
"""Share of tenths of a second in which every packet shall be in time."""

AUDIO_JITTER_SLOTS: Final = 15
"""Tenths of a second over which that is so: what one stall asks for is forgotten after these."""

AUDIO_STALL_PAUSE: Final = 1.0
"""Seconds between two stalls: what comes sooner is the same one."""

AUDIO_STALLS: Final = 3
"""Stalls that make a network which stalls now and then: then the shortest of them is waited for."""

AUDIO_STALL_MEMORY: Final = 10.0
"""Seconds in which there are so many."""

AUDIO_DELAY_SLOTS: Final = 60
"""Tenths of a second of arrivals in which the fastest is looked for: a way that became slower is believed
after six seconds."""

AUDIO_DELAY_SLOTS_MIN: Final = 4
"""Tenths of a second after which the jitter is known well enough."""

AUDIO_STRETCH_FROM: Final = 0.012
"""Seconds by which sound may lie beside its target before it is played faster or slower."""

AUDIO_STRETCH_ALWAYS: Final = 0.03
"""Seconds too late from which on every packet is shortened, not each third one."""

AUDIO_STRETCH_PATIENCE: Final = 0.3
"""Seconds of sound in which it is looked for places where shortening goes unheard; then it is shortened."""

AUDIO_LAG_MAX: Final = 0.3
"""Seconds that sound may lag: what a stall held up is played faster up to here, and left out beyond (a peer
that sends faster than time passes)."""

AUDIO_ALONE_AFTER: Final = 0.01
"""Seconds of sound made up from which on a packet that comes alone waits for the next..."""

AUDIO_ALONE_UNTIL: Final = 0.06
"""...until so many are made up in all..."""

AUDIO_ALONE_WAIT: Final = 0.03
"""...or it came so many seconds ago: what it waits, the pause behind it is shorter."""

AUDIO_CONCEAL_MAX: Final = 0.5
"""Seconds for which missing sound is made up: longer than the pause between two packets of a silent sender
(0.4 s with Opus), and soon quiet."""

AUDIO_LOSS_MEMORY: Final = 10.0
"""Seconds after a loss in which sound waits for one packet more, which may hold a copy of a lost one."""

AUDIO_LOSS_PAUSE: Final = 1.0
"""Seconds from the first of several losses in which they are one: what a burst lost."""

AUDIO_LOSS_ONCE: Final = 1.5
"""Seconds likewise after one that does not come again: a burst is over."""

AUDIO_PACKETS_MAX: Final = 128
"""Packets of sound that wait to be played (a flood): 0.3 s of the shortest ones."""

AUDIO_RESTART: Final = 2.0
"""Seconds by which RTP time may jump against the clock before the sender has begun anew."""

AUDIO_SEQUENCE_JUMP: Final = 1000
"""Numbers by which a packet may lie away from the last one; beyond, a second one must follow it before the
sender has begun anew (RFC 3550 appendix A.1)."""

SYNC_SLACK: Final = 0.02
"""Seconds that sound may come out before or after its picture: nobody notices 40 ms (ITU-R BT.1359)."""

SYNC_STEP: Final = 0.005
"""Seconds by which a hold changes with each picture: nobody sees it."""

SYNC_PICTURES: Final = 90
"""Pictures by which it is judged how late pictures come: three seconds."""

SYNC_JUDGED: Final = 5
"""Pictures after each of which that is judged anew."""

SYNC_STRETCH: Final = 15
"""Pictures of a stretch: half a second at 30 a second."""

SYNC_IN_TIME: Final = 0.85
"""Share of the pictures of most stretches that shall not come later than their sound, as far as SYNC_LAG
allows it: a burst, in which all of half a second are late, changes nothing."""

SYNC_LAG: Final = 0.08
"""Seconds that sound lags at most for pictures that wait for their repairs: people notice more. For
what most pictures take it waits longer."""

SYNC_HOLD_MAX: Final = 0.2
"""Seconds for which pictures are held, or sound waits, at most (a peer whose reports are nonsense)."""

SYNC_JUMP: Final = 0.5
"""Seconds by which a report moves a sender's clock when it was set, or is that of another stream."""

PICTURES_HELD_MAX: Final = 16
"""Decoded pictures that are held (memory: 1.4 MB each at 720p)."""

COPIES_FROM: Final = 0.01
"""Share of packets of sound lost from which on each is sent twice (30 to 60 kb/s)."""

COPIES_UNTIL: Final = 0.004
"""Share below which they are not any more; what is lost in spite of them counts here."""

NACK_PATIENCE: Final = 0.003
"""Seconds before a missing packet of a picture is asked for: two that changed places are no loss."""

NACK_RTT_FIRST: Final = 0.06
NACK_RTT_MIN: Final = 0.005
NACK_RTT_MAX: Final = 0.6
"""Seconds of round trip that are believed: before it is measured, at least, and at most."""

NACK_PAUSE: Final = 1.1
"""Round trips before it is asked for again."""

NACK_PAUSE_AGAIN: Final = 0.5
"""Round trips before it is asked for once more, and so on."""

NACK_PAUSE_MIN: Final = 0.02
"""Seconds before it is asked for again, at least: the sender's loop may be busy."""

NACK_TWICE: Final = 0.03
"""Share of the packets lost, of about the last hundred, from which each is asked for twice at first..."""

NACK_TWICE_PAUSE: Final = 0.01
"""...so many seconds apart, and..."""

NACK_TWICE_QUEUED: Final = 0.02
"""...only while packets wait less than so many seconds in queues: else they are lost since these are full."""

NACK_LIFE: Final = 0.5
"""Seconds for which a missing packet is asked for: then a keyframe is the quicker way."""

NACK_ROUNDS: Final = 3.5
"""Round trips for which it is, where these are longer."""

NACK_WANTED_MAX: Final = 300
"""Packets that may be missing at a time (a peer whose numbers jump): two keyframes of 720p."""

NACK_REPORT_MAX: Final = 100
"""Numbers in one report: it fits into one packet however they lie."""

KEYFRAME_AFTER: Final = 0.2
"""Seconds for which a packet is missing before a keyframe is asked for."""

KEYFRAME_AFTER_ROUNDS: Final = 2.5
"""Round trips for which it is, where these are longer."""

KEYFRAME_PAUSE: Final = 0.4
"""Seconds before a keyframe is asked for again (a sender that is flooded with wishes)."""

KEYFRAME_ROUNDS: Final = 3.0
"""Round trips before that, where these are longer."""

KEYFRAME_PAUSE_MAX: Final = 2.0
"""Seconds before that at most, whatever a round trip is said to be."""

KEYFRAME_PATIENCE: Final = 3.0
"""Seconds without a keyframe that we know as one, after which the decoder gets what there is."""

FREEZE: Final = 0.2
"""Seconds after which a picture that stands still is a freeze: people see it."""

# --- media ----------------------------------------------------------------------------------------

MEDIA_GATHER_TIMEOUT: Final = 5.0
"""For making a local description; host candidates alone take milliseconds."""

MEDIA_REMAINS_AFTER: Final = 1.0
"""Seconds after a connection ended until what it left is collected and given back: another one may begin at
once."""

ICE_SERVER_PATIENCE: Final = 0.002
"""How long a description waits for the configured STUN and TURN servers (a server that is dead): what they
tell later follows it."""

ICE_LOOKUPS: Final = 4
"""Names of servers that are looked up at a time: a resolver that is dead holds a thread for many seconds."""

ICE_TRICKLE_PAUSE: Final = 0.03
"""Seconds in which candidates are collected to go in one message."""

MEDIA_CONNECT_TIMEOUT: Final = 10.0
"""From both descriptions set to ICE, DTLS and the control channel done: then there is no path."""

MEDIA_ANSWER_TRAVEL: Final = 5.0
"""What the answering side waits on top, since its answer still has to reach the caller."""

MEDIA_OFFER_LIFE: Final = 150.0
"""An offer that nobody answers is closed after this, whatever its owner forgets (leaked sockets)."""

MEDIA_CLOSE_TIMEOUT: Final = 3.0
"""For an orderly close of a peer connection; then its sockets are closed the hard way."""

RTP_PAYLOAD_MAX: Final = 1150
"""Octets of a picture in one packet. With what is around it (RTP and its extensions 30, SRTP 16, a relay's
channel 4, UDP 8, IPv6 40) it fits into 1,280, the least that every IPv6 link carries (RFC 8200 section 5)."""

CONSENT_INTERVAL: Final = 1.0
"""Seconds between consent checks, varied by a fifth (RFC 7675 section 5.1 says 5 at most)."""

CONSENT_RETRY: Final = 0.25
"""Seconds to the next consent check while one is unanswered: many small proofs rather than few."""

CONSENT_FAILURES: Final = 6
"""Unanswered consent checks in a row after which a pair is dead: 2 to 3 s (RFC 7675 section 5.1 allows 30);
at 10 % of loss each way a living path is taken for dead once in 20,000 tries."""

CONSENT_LOST: Final = 15.0
"""Seconds in which all known pairs are tried again before a call without a living pair is given up (RFC 7675
section 5.1: consent ends 30 s after the last answer)."""

CONSENT_REVIVE: Final = 0.5
"""Pause between two tries of a pair in this time."""

ICE_PACE: Final = 0.005
"""Pause between first checks of two pairs: RFC 8445 section 14.2 asks for at least 5 ms."""

ICE_RETRY: Final = 0.1
"""Pause before a check is sent again, doubled from the third copy on: a lost packet costs 0.1 s."""

ICE_CHECKS_PER_CANDIDATE: Final = 7
"""Checks to an address that has not proven to know our password (a peer that aims our checks at others)."""

ICE_CHECKS_MAX: Final = 12 * ICE_CHECKS_PER_CANDIDATE
"""Checks of one call to all such addresses together."""

ICE_CHECKS_RENEW: Final = 30.0
"""Seconds after which a call that has a path, or lost it, may send them again, for ends that move: less than
three packets a second, whatever a peer names."""

ICE_CHECK_LIFE: Final = 3.0
"""How long an answer to a check counts, and how long the last copy waits: longer than any usable round
trip."""

ICE_CHECKS_WAITED_MAX: Final = 512
"""Checks whose answer is waited for (a peer that provokes ours and answers none)."""

ICE_PAIRS_MAX: Final = 100
"""Pairs of one check list (RFC 8445 section 6.1.2.5)."""

ICE_EARLY_CHECKS_MAX: Final = 16
"""The peer's checks that are remembered until its description is there (memory)."""

ICE_OVERLAP: Final = 0.25
"""Seconds for which the pair that was left carries copies of all packets: what is on its way on a slower pair
arrives, and what the faster one drops at first is there twice."""

ICE_SILENCE: Final = 0.2
"""Seconds without a packet, after a steady stream of media, before the path is checked: what a path that died
costs is mostly the time until somebody looks."""

ICE_SILENCE_PACKETS: Final = 5
"""Packets in as long a time that make a steady stream: half of those that speech has."""

ICE_REPROBE: Final = 2.0
"""Seconds after which a call that goes over a relay checks direct pairs again that failed; doubled after each
round."""

ICE_REPROBES: Final = 9
"""Rounds of that: a quarter of an hour in all."""

ICE_REPROBE_COPIES: Final = 2
"""Checks of a pair in one round."""

ICE_DOUBT: Final = 0.4
"""Seconds (or two round trips, if that is longer) without an answer to a consent check after which the best
spare pair carries copies, long before the selected one is given up."""

ICE_DOUBT_CHECKS: Final = 8
"""Other pairs that are asked then, once, whether they live: the best ones. Caps what a peer that falls silent
makes us send."""

ICE_HEARD_MAX: Final = 256
"""The peer's last transactions whose source is remembered: minutes of consent checks (who saw a check on its
way and sends it again in other names, so that ours go there)."""

ICE_SPARES: Final = 2
"""Valid pairs besides the selected one that are kept alive, so that one is there when it dies."""

ICE_SPARE_INTERVAL: Final = 4.0
"""Pause between two checks of a spare pair: below the shortest life of a mapping in a NAT."""

ICE_NOMINATION: Final = 1.0
"""Seconds after a selection in which the best of the nominated pairs counts, for a peer may nominate all that
it checks; after that, the pair that was nominated last."""

ICE_NO_PATH: Final = 7.5
"""From the last candidate to the verdict that there is no path: all copies of all checks, and late ones of
the peer."""

ICE_ANSWER_TRAVEL: Final = 1.5
"""What the answering end waits on top, whose answer has to travel."""

ICE_NO_PATH_MAX: Final = 8.5
"""From both descriptions to the verdict, whatever comes late: before ``CALL_PATH``, which has no reason to
tell."""

ICE_STUN_RETRY: Final = 0.2
"""First pause before a STUN server is asked again; doubled each time."""

ICE_STUN_ATTEMPTS: Final = 4
"""Requests to a STUN server that does not answer: 3 s."""

ICE_RELAYS: Final = 2
"""Relays that a call has, configured ones included: the second stands in when the first dies."""

RELAY_WAY_PAUSE: Final = 0.3
"""Seconds in which a relay is tried by UDP alone; then by TCP and TLS, too (where UDP is blocked, a call
waits for it)."""

ICE_RELAY_PATIENCE: Final = 2.0
"""For a new allocation while a call has no path: then the server is asked again."""

ICE_RELAY_PAUSE: Final = 0.5
"""Pause before that."""

ICE_ADDRESSES_POLL: Final = 1.0
"""Pause between looks at this machine's addresses while there is a call."""

ICE_ADDRESSES_SAME: Final = 0.02
"""For which one look holds for all calls of a node: they look in one step of the loop."""

ICE_MAPPED_PORTS: Final = 3
"""Mapped ports of one external address that a call tells of behind a NAT that maps by destination."""

ICE_BROKEN_POLL: Final = 0.2
"""Likewise while the call has no path."""

ICE_RETELL: Final = (0.0, 2.0, 5.0, 9.0)
"""Seconds after the last path is lost at which all our candidates are told again, by every way that is left:
the peer may be on the move, too, and hear the later ones only."""

DHT_LOOK_PAUSE: Final = 2.0
"""Seconds before that is done again, however many calls are broken (a peer whose path flaps)."""

DHT_LOOK_AROUND: Final = 16
"""Contacts challenged when a call lost every path: as many as tell us where we are seen."""

ICE_LOCAL_ADDRESSES_MAX: Final = 6
"""Local addresses offered: what one datagram carries (a machine with hundreds of addresses)."""

ICE_REMOTE_CANDIDATES_MAX: Final = 32
"""Remote candidates of one call, peer-reflexive ones included (a peer that aims our checks at others)."""

ICE_NAMES_MAX: Final = 8
"""Browsers' ``.local`` names of one call that are asked for on the LAN (a peer that has us ask for many)."""

ICE_NAME_PATIENCE: Final = 1.5
"""Seconds for the answer to such a question, which is sent twice or three times meanwhile."""

ICE_NAME_ADDRESSES_MAX: Final = 2
"""Addresses of one name that are used: it stands for one (a neighbour who answers with many)."""

ICE_QUEUE_MAX: Final = 1024
"""Received datagrams that wait for DTLS (a flood; about 1 s of video)."""

NOTES_MAX: Final = 4
"""Notes kept of one message (memory)."""

NOTES_PER_CALL_MAX: Final = 32
"""Notes heard in one call (a peer that has us ask, verify and aim without end)."""

NAT_SAMPLES_MAX: Final = 64
"""Nodes whose view of our address is remembered (memory)."""

NAT_SAMPLE_LIFE: Final = 300.0
"""Seconds for which it counts: mappings that are used live longer, and NATs are replaced meanwhile."""

NAT_SURVEY_LIFE: Final = 1800.0
"""Seconds for which it is believed how a NAT chooses its ports; each call that needs it looks again."""

NAT_SURVEY_SOON: Final = 5.0
"""Seconds between looks at whether there is need for one."""

NAT_SURVEY_PAUSE: Final = 600.0
"""Seconds between two surveys while the mapping depends on the destination (load on other nodes)."""

NAT_SURVEY_NODES: Final = 4
"""Nodes asked in one survey, of different networks as far as there are."""

NAT_SURVEY_PATIENCE: Final = 0.6
"""Seconds that a survey waits for its last answer."""

NAT_DELTA_MAX: Final = 16
"""Largest step between two ports that is taken for one of a sequential NAT, and most mappings of others that
may lie between two of ours (busy carriers): beyond, foretelling is guessing."""

PREDICTED_MAX: Final = 3
"""Predicted ports told to a peer: with the reflexive one they are the ports that it checks of one address."""

PUNCH_HEAD_START: Final = 0.15
"""Seconds that plain checks get before ports are predicted or probed: most calls need neither."""

PUNCH_LOOK: Final = 0.25
"""Seconds between two looks at whether our NAT is known yet, in a call that needs it."""

PUNCH_TRIES: Final = 3
"""Times that ports are predicted in one call; other traffic may have come between."""

PUNCH_TRY: Final = 1.2
"""Seconds between two of these."""

PUNCH_MEETING: Final = 16
"""Sockets with which two sequential NATs aim at each other's predicted port: so many mappings of others may
come between. Each sends few packets, all to one address that was proven."""

PUNCH_SOCKETS: Final = 256
"""Sockets that the end behind a random NAT opens: mappings in its NAT, descriptors here."""

PUNCH_HOPS: Final = 5
"""Routers that a first opening passes: enough for our own NATs, hardly ever the way to the peer's, where
routers that answer strangers would keep state for it, and with it the port that the peer's probe needs."""

PUNCH_FAR: Final = 0.6
"""Seconds after which openings go all the way, for NATs that are further away."""

PUNCH_PROBES_PER_SECOND: Final = 500
"""Probes towards such a NAT (its uplink: 60 kB/s)."""

PUNCH_PROBES_AT_ONCE: Final = 25
"""Probes after a pause of the loop: no burst."""

PUNCH_PROBES_MAX: Final = 1750
"""Probes of one try: 99.9 % have met by then, and each is an entry in our own NAT's table."""

PUNCH_PROOF: Final = 3.0
"""Seconds in which a proof has to come: two messages and two round trips."""

PUNCH_WITNESSES_MAX: Final = 4
"""Witnesses of the peer that are asked in one call (a peer that aims our pings: two each at most)."""

PUNCH_REOPEN: Final = 10.0
"""Seconds after which openings are sent again: NATs forget what nobody answered after 30 s."""

PUNCH_LIFE: Final = 12.0
"""Seconds after which sockets that nothing came in by are closed."""

PUNCH_HOUR: Final = 3600.0
PUNCHES_PER_HOST: Final = 64
PUNCHES_PER_HOUR: Final = 128
"""Tries in an hour: towards one host, and in all (a peer that has us send to its own host again and again:
112,000 small packets, after 64 calls that somebody accepted)."""

PUNCHES_AT_ONCE: Final = 2
"""Tries at a time (descriptors, uplink)."""

QUALITY_POLL: Final = 0.5
"""Pause between looks at the quality of a call's path."""

QUALITY_SILENT: Final = 1.0
"""Seconds without an answer to a consent check after which a path is called degraded: long before it is given
up."""

QUALITY_LOSS: Final = 0.1
"""Share of packets lost from which on a path is called degraded: people hear that."""

QUALITY_PACKETS_MIN: Final = 50
"""Packets that must have been sent for a share to mean anything: a second of sound."""

QUALITY_WINDOW: Final = 4.0
"""Seconds over which that share is taken."""

QUALITY_RTT: Final = 0.6
"""Round trip in seconds from which on a path is called degraded: people begin to talk at once (ITU-T G.114
wants 0.4 s one way at most)."""

QUALITY_HOLD: Final = 3.0
"""Seconds for which a path stays degraded after the last sign of it."""

CONTROL_MESSAGE_MAX: Final = 16 * 1024
"""Octets of one message on the control channel (memory; chat and confirms are far smaller)."""

CONTROL_CANDIDATES_MAX: Final = 1024
"""Octets of candidates in one control message: as many as a sealed message holds, and room (memory)."""

CONTROL_QUEUE_MAX: Final = 256
"""Control messages that wait for their reader (a peer that floods)."""

CONTROL_BUFFER_MAX: Final = 256 * 1024
"""Octets sent on the control channel and not acknowledged (a peer that stops reading)."""

SCTP_RTO_FIRST: Final = 0.5
"""First retransmission timeout of SCTP: RFC 9260 section 16 says 1 s, aiortc takes 3 s for a lost INIT."""

CONTROL_GAPS_MAX: Final = 1024
"""SCTP packets received out of order that are remembered (a peer that leaves gaps for ever: all of them are
sorted for each packet that comes, which takes half a millisecond)."""

SCTP_GAPS_MAX: Final = 8192
"""SCTP packets that one SACK may say came out of order: more are never under way (one datagram that makes a
parser work for seconds)."""

SCTP_STREAMS_MAX: Final = 64
"""SCTP streams that a peer may use; its messages come on one (memory)."""

RTP_SOURCES_MAX: Final = 128
"""SSRCs that a peer may send by in one call: each screen that it shares is a new one, with another for
repairs (memory)."""

CONTROL_REASSEMBLY_MAX: Final = 256 * 1024
"""Octets of SCTP fragments held (a peer that never sends the last fragment)."""

CHANGES_WAITING_MAX: Final = 4
"""Offers of a peer in a running session that wait for their answer: an honest one has one (memory)."""

CHANGE_PAUSE: Final = 0.2
"""Seconds after each answer to one: a decoder may be ended and made anew for it (a peer that offers without
end)."""

CHANGE_PATIENCE: Final = 5.0
"""Seconds that an offer of ours in a running session waits for its answer; then it is made anew, as a page
does."""

CHANGE_TRIES: Final = 4
"""Offers in a row that a peer may leave without an answer; it is of a version that changes nothing, then."""

CHANGE_RETELL: Final = (0.0, 1.0, 2.5, 4.0)
"""Seconds before each time that the peer is told of a change by sealed message, while no path answers: it may
be on the move, too, and hear the later ones only."""

CHANGE_LOOK: Final = 3.0
"""Seconds for finding the peer again before one of these times."""

CHANGE_LIFE: Final = 20.0
"""Seconds for which such a message is valid: a call without a path is given up sooner."""

DECODE_QUEUE_MAX: Final = 128
"""Encoded frames that wait for a decoder (a peer that sends faster than we decode): 2.5 s of audio."""

VIDEO_REORDER_MAX: Final = 512
"""Video packets held behind a hole, a power of two: room for a retransmission in a large keyframe."""

SOURCE_AUDIO_QUEUE: Final = 50
"""Decoded audio frames read ahead: 1 s."""

SOURCE_VIDEO_QUEUE: Final = 6
"""Decoded pictures read ahead: 0.2 s at 30 frames a second, 8 MB at 720p."""

SOURCE_WIDTH_MAX: Final = 1280
"""Pictures are scaled down to fit: VP8 at our bit rates looks worse above, and costs a core."""

SOURCE_HEIGHT_MAX: Final = 720
"""See SOURCE_WIDTH_MAX."""

SOURCE_RATE_MAX: Final = 30
"""Pictures sent per second at most; more are skipped."""

SOURCE_OPEN_TIMEOUT: Final = 5.0
"""For opening a source (a camera that hangs, a file on a dead network share)."""

SOURCE_MICROPHONE_QUEUE: Final = 8
"""Frames of a microphone that wait: 160 ms, for devices that hand out sound in large pieces. The oldest goes
when its clock is faster than ours."""

DEVICE_RETRY: Final = 1.0
"""Seconds between two looks for a device that was unplugged."""

DEVICE_PATIENCE: Final = 0.25
"""Seconds without a frame after which a microphone is taken for gone, and silence is sent."""

DEVICE_REPEAT: Final = 1.0
"""Seconds without a picture after which the last one is sent again, and so on: a camera in the dark has five
a second."""

RECORD_QUEUE_MAX: Final = 64 * 1024 * 1024
"""Octets of decoded media that wait for the disk (a slow disk): then pictures are dropped."""

RECORD_WIDTH_MAX: Final = 1920
"""Pictures are scaled down to fit before they are recorded (a peer that sends huge pictures)."""

RECORD_HEIGHT_MAX: Final = 1080
"""See RECORD_WIDTH_MAX."""

RECORD_VIDEO_WAIT: Final = 2.0
"""How long a recording's header waits for the first picture, whose size it holds."""

RECORD_DRIFT_MAX: Final = 1.0
"""Seconds that RTP time may differ from the time of arrival in a recording (forged timestamps)."""

RECORD_CLOSE_TIMEOUT: Final = 10.0
"""For writing what is queued and the index of a recording."""

MIX_WIDTH: Final = 1280
"""Of the one picture that all members of a room are recorded in."""

MIX_HEIGHT: Final = 720
"""See MIX_WIDTH."""

MIX_FPS: Final = 15
"""Pictures a second of it (processor time: a quarter of what 720p30 takes to encode)."""

MIX_TILES_MAX: Final = 16
"""Members and shared screens in it: as many as a room has members."""

MIX_PICTURES_WAITING: Final = 3
"""Of one member, until the next picture is made (memory, when that is behind): the oldest go first."""

MIX_PICTURE_LIFE: Final = 2.0
"""Seconds that a member's last picture is shown: who sends none any more is black."""

MIX_WAIT: Final = 0.2
"""Seconds that sound is waited for before it is mixed: what stood still here for a moment is not lost."""

MIX_BEHIND_MAX: Final = 10.0
"""Seconds of sound that are made up for when the recording was held up (a machine that slept for days)."""

MIX_QUEUE_MAX: Final = 8 * 1024 * 1024
"""Octets of sound that wait for the disk (a slow disk), some seconds of a full room: more is left out."""

# --- rate control ---------------------------------------------------------------------------------

RATE_START: Final = 1_000_000
"""Bits per second of pictures before anything is known of the link: 360p at its best, on any LAN at once."""

RATE_MAX: Final = 6_000_000
"""Bits per second to one peer at most: a camera and a screen at their best (a peer that asks for a flood)."""

RATE_DEEP: Final = 0.4
"""Share of the peer's last estimate below which the link became much narrower, all at once."""

RATE_DRAIN: Final = 0.4
"""Seconds for which half is sent then: a queue of 0.2 s, which is what routers have, is empty again."""

RATE_TICK: Final = 0.1
"""Seconds between two looks at what a peer gets; a cut is looked at at once."""

RATE_FLOOR: Final = 80_000
"""Bits per second below which pictures are no use; they are paused, and the sound has the link alone."""

RATE_RESUME: Final = 120_000
"""Bits per second that paused pictures begin again with."""

RATE_PAUSE_AFTER: Final = 1.0
"""Seconds below the floor before pictures are paused: one dip is no reason."""

RATE_RESUME_AFTER: Final = 2.0
"""Seconds of pause before the first try; doubled by each try that fails, for each costs sound."""

RATE_RESUME_MAX: Final = 16.0
"""Longest such pause."""

RATE_PROVEN: Final = 8.0
"""Seconds that pictures hold before a try counts as good, and the next pause is a short one again."""

RATE_AUDIO: Final = 64_000
"""Bits per second kept for sound: Opus at 32 kbit/s, and the headers of 50 packets a second."""

RATE_SETTLED: Final = 1.05
"""How much an estimate grows while it is still being found out what a link carries..."""

RATE_SETTLED_AFTER: Final = 1.0
"""...and seconds after which it is known."""

RATE_REPORT_LIFE: Final = 3.0
"""Seconds for which a peer's estimate or report counts (RFC 8083: without reports, send less): it reports
twice a second; one is lost now and then."""

RATE_SILENCE_STEP: Final = 1.0
"""Seconds between two halvings while a peer reports nothing."""

RATE_LOSS_LOW: Final = 0.02
"""Share of loss up to which more is sent (draft-ietf-rmcat-gcc-02 section 6)."""

RATE_LOSS_HIGH: Final = 0.1
"""Share of loss from which on less is sent, by half of that share (likewise)."""

RATE_OVERFLOW: Final = 0.85
"""Share of its rate that a link gets next which loses more than ``RATE_LOSS_LOW`` while packets wait: a queue
that overflows, whoever fills it."""

RATE_LOSS_NEAR: Final = 10.0
"""Seconds after a cut in which the rate that it was made at is approached slowly."""

RATE_LOSS_OWN_MAX: Final = 0.25
"""Loss that is taken for the link's own at most: beyond, nobody understands a word."""

RATE_LOSS_LIFE: Final = 30.0
"""Seconds for which loss that stays when we give way is taken for the link's own (Wi-Fi, not congestion)."""

RATE_NACK_WINDOW: Final = 0.3
"""Seconds over which retransmissions asked for are set against packets sent: a queue that overflows is known
by them long before the next report."""

RATE_NACK_SHARE: Final = 0.3
"""That share of packets asked for again is congestion at once."""

RATE_NACK_PACKETS: Final = 8
"""Fewest packets asked for again that mean anything."""

RATE_QUEUE_RTT: Final = 0.2
"""Seconds by which a round trip is longer than the shortest of late before it counts as a full queue, where
the peer sends no estimate."""

RATE_RTT_WINDOW: Final = 10.0
"""Seconds over which the shortest round trip, and the least delay of a packet, are looked for: routes
change, clocks drift."""

ARRIVALS_LATE: Final = 0.04
"""Seconds by which every packet of a window is late before the link counts as full; jitter of Wi-Fi is less,
or hits single packets."""

ARRIVALS_LATE_MAX: Final = 0.4
"""Lateness that one gets used to at most, when it stays although we give way: another flow fills
the queue."""

ARRIVALS_FORGET: Final = 0.03
"""Share of that which is forgotten every second."""

ARRIVALS_HELD: Final = 0.3
"""Seconds for which it counts that this machine was busy: until what came meanwhile was read."""

ARRIVALS_PROBE: Final = 0.05
"""Seconds between two looks at whether it is, while pictures arrive."""

ARRIVALS_BESIDE: Final = 160_000
"""Bits per second that are asked for at least while cuts change nothing (beside a flow that fills the queue),
or lateness harms no sound."""

ARRIVALS_HARM: Final = 0.1
"""Lateness up to which sound is not harmed: its jitter buffer bears that."""

ARRIVALS_EMPTY: Final = 0.015
"""Lateness up to which a queue counts as empty."""

ARRIVALS_ALONE: Final = 1.0
"""Seconds of an empty queue after which nobody else fills it, and it is forgotten fast."""

ARRIVALS_WINDOW: Final = 0.08
"""Seconds of packets that are looked at for lateness: two pictures at 30 a second."""

ARRIVALS_PACKETS_MIN: Final = 4
"""Packets that such a window holds at least; it reaches back further if there were fewer."""

ARRIVALS_PACKETS_MAX: Final = 2048
"""Packets remembered for it (memory: a flood)."""

ARRIVALS_TOGETHER: Final = 0.001
"""Seconds within which packets that left together have arrived together: what the first one tells of the way
holds for all of them."""

ARRIVALS_SSRCS_MAX: Final = 8
"""Streams that a report names: a camera, a screen, and those that took their places (a peer that sends ever
new ones; a REMB has room for 255)."""

ARRIVALS_GIVE_WAY: Final = 0.9
"""Share of what arrives through a full link that is asked for next: the queue drains."""

ARRIVALS_DROP_PAUSE: Final = 0.45
"""Seconds between two cuts: a round trip, and the encoder's time to follow."""

ARRIVALS_PAUSE: Final = 1.5
"""Seconds without pictures after which those that come are a try: less than ``RATE_RESUME_AFTER``."""

ARRIVALS_SETTLE: Final = 0.5
"""Seconds in which a link that drained is filled again up to where it was full."""

ARRIVALS_STEP: Final = 80_000
"""Bits per second and second that are tried beyond; doubled every second that goes well, so that a link that
became wider is found out in seconds and one that did not is hardly disturbed. An amount and no share, which
makes flows that share a link equal (Chiu and Jain 1989)."""

ARRIVALS_STEP_MAX: Final = 1_500_000
"""Most that is tried beyond in one second."""

ARRIVALS_REPORT: Final = 0.2
"""Seconds between two reports; a cut is told at once."""

ARRIVALS_REPORT_CHANGE: Final = 0.03
"""Share by which an estimate grows before it is worth a report..."""

ARRIVALS_REPORT_SAME: Final = 0.9
"""...and seconds after which it is told all the same: a peer forgets it after ``RATE_REPORT_LIFE``, and some
reports are lost."""

TRAIN_PACKETS: Final = 3
"""Packets that left together, from which on the times between them tell what a way carries."""

TRAIN_PAUSE: Final = 0.1
"""Seconds between two packets after which they are of two trains."""

TRAIN_LEAST: Final = 0.0005
"""Seconds that a train takes at least: what is shorter, clocks don't tell."""

TRAIN_HEADERS: Final = 75
"""Octets around the payload of a picture on the wire: RTP and its extensions, SRTP's tag, UDP, IP."""

TRAINS_KEPT: Final = 64
"""Trains remembered (memory)..."""

TRAINS_LIFE: Final = 2.0
"""...and the seconds for which they count."""

TRAINS_LOOK: Final = 0.2
"""Seconds between two looks at them."""

TRAINS_MIN: Final = 8
"""Trains that tell something."""

ARRIVALS_MORE: Final = 1.1
"""How much more than what arrives is tried at least, whatever trains show: other traffic makes a way look
narrower than it is."""

ARRIVALS_SINK: Final = 0.02
"""Share by which an estimate that is higher sinks in a second: too little to look like a cut."""

ARRIVALS_JUMP: Final = 1.0
"""Seconds by which one packet's delay differs from the last one's when a clock was set, or the peer forges
send times: all is measured anew."""

UPLINK_TOGETHER: Final = 0.6
"""Seconds within which links that are cut count as cut by the same bottleneck: ours."""

RATE_SHARE_RAISE: Final = 1.5
"""How many times its own estimate a link gets at most when its part of a shared uplink is larger: if its own
way is no wider, that is found out in no time."""

UPLINK_SHARE: Final = 0.5
"""Share of the links with pictures that must be cut together."""

UPLINK_LIFE: Final = 12.0
"""Seconds after the last such sign for which the links share one sum."""
# --- sending media --------------------------------------------------------------------------------

KEYFRAME_INTERVAL: Final = 0.3
"""Seconds between keyframes that receivers ask for: one peer that asks with every packet would cost all
others their rate."""

REQUESTS_MAX: Final = 512
"""Packets of which it is known that a peer asked for them: four times what is kept to be sent again."""

REPAIRS_MAX: Final = 300
"""Packets of one stream that are sent again in a second: all of 720p, so that no honest peer meets it. A peer
that asks for everything again and again would take the uplink from the others."""

PACE_LIFE: Final = 60.0
"""Seconds after a link was found full for which large pictures are spread: it is not forgotten between two
keyframes."""

PACE_OVER: Final = 1.2
"""How much faster than its rate a large picture leaves, and what has waited behind it: more would fill the
queue that it shall not fill."""

PACE_BURST: Final = 0.06
"""Seconds of its rate that leave at once: two pictures at 30 a second, so that ordinary ones never wait."""

PACE_LONGEST: Final = 0.4
"""Seconds in which any picture has left: fewer others wait behind it than ``OUTLET_QUEUE_MAX``."""

BEAT: Final = 0.02
"""Seconds between two packets of sound, behind each of which a block of pictures leaves on a way that carries
hardly more than it is sent."""

BEAT_PATIENCE: Final = 0.01
"""Seconds that it waits for sound that is late..."""

BEAT_SILENCE: Final = 0.1
"""...if there was any so many seconds ago..."""

BEAT_LOOK: Final = 0.001
"""...and between two looks at whether it has left..."""

BEAT_LATE: Final = 0.004
"""...and seconds after which it is too late: its last packet shall be gone when the next sound comes."""

BEATS_PAYLOAD: Final = 800
"""Octets of a picture in one packet on such a way: at 0.6 Mbit/s it is gone in 12 ms."""

BEAT_HEADERS: Final = 45
"""Octets around a packet on the wire that its sender does not count: SRTP's tag, UDP, IP."""

BEATS_OVER: Final = 1.2
"""How much more leaves with a beat than payload is sent in one: headers, of which small packets have more."""

BEATS_MOST: Final = 3
"""Beats in which all has left that waits."""

BEATS_SHARE: Final = 0.85
"""Of what is useful, at most, on such a way: what nobody sees is what a block is shorter by."""

BEATS_BELOW: Final = 1.3
"""A way that carries less than so many times what is sent carries hardly more."""

OUTLET_QUEUE_MAX: Final = 16
"""Encoded frames that wait for one peer's sender: half a second of pictures, a third of one of sound. A peer
behind a slow path must not make us hold more."""

ENCODE_PICTURES_WAITING: Final = 2
"""Pictures that wait for an encoder, and from it for the event loop: who can't keep up gets fewer, not later
ones."""

PICTURES_RATE_MIN: Final = 50_000
"""Bits a second of pictures at least, however little a peer says it gets: the smallest layer needs it."""

PICTURES_RATE_START: Final = 1_000_000
"""Bits a second of pictures before the peer has said anything."""

LAYER_TICK: Final = 0.5
"""Seconds between two looks at who gets which layer, and at the load of the encoders."""

LAYER_IDLE_MAX: Final = 10.0
"""Seconds for which the encoder of a layer is kept that nobody is sent: opening one costs 20 ms, keeping it
some megabytes."""

LAYER_UP_AFTER: Final = 1.0
"""Seconds for which a way must carry a higher layer before it gets it: each switch costs a keyframe. Twice as
long after each time that it did not hold."""

LAYER_UP_AFTER_MAX: Final = 8.0
"""Longest such wait."""

LAYER_HELD: Final = 10.0
"""Seconds after which a layer has held."""

LAYER_SPARE: Final = 1.2
"""How much more than a layer's least it must carry for that."""

LAYER_KEEP: Final = 0.85
"""Share of a layer's least down to which it is kept."""

CPU_HIGH: Final = 0.85
"""Share of the time that an encoder works from which on it is too slow: pictures are about to be left out."""

CPU_HIGH_AFTER: Final = 2.0
"""Seconds of that before less is encoded: a machine that stood still for a moment is fast enough."""

CPU_LOW: Final = 0.35
"""Share of the time from which down twice as much could be encoded."""

CPU_LOW_AFTER: Final = 10.0
"""Seconds of that before more is tried."""

CPU_LOW_AFTER_MAX: Final = 160.0
"""The same, after tries that failed."""

STRAIN_LOOK: Final = 0.5
"""Seconds over which the event loop's lateness is averaged."""

STRAIN_LATE: Final = 0.06
"""Seconds late, on that average, from which on this machine does not keep up: sound breaks up."""

STRAIN_AFTER: Final = 1.5
"""Seconds of that before smaller pictures are asked for: links are given up after 2 to 3 s of silence."""

STRAIN_CALM: Final = 0.01
"""Seconds late from which down larger pictures could be borne."""

SPEECH_FLOOR_MAX: Final = -45
"""dBov that background noise is thought to have at most: louder is somebody."""

SPEECH_ABOVE_FLOOR: Final = 10
"""Decibels by which speech is louder than the background."""

SPEECH_LEVEL_MIN: Final = -55
"""dBov of speech at least."""

SPEECH_HOLD: Final = 0.6
"""Seconds from the last loud moment for which somebody is said to speak."""

SILENCE_LEVEL: Final = -75
"""dBov up to which nobody hears anything, and nothing needs to be sent."""

SILENCE_FRAMES: Final = 10
"""Frames of 20 ms that are sent before silence is left out: the end of a word is quiet."""

SILENCE_PACKETS: Final = 20
"""Of so many frames of silence one is sent: 0.4 s, as Opus's own DTX."""

OPUS_RATE_MONO: Final = 32_000
"""Bits a second of sound: speech is transparent at it, music good."""

OPUS_RATE_STEREO: Final = 48_000
"""See OPUS_RATE_MONO."""

SOUND_PACKET_PEERS: Final = ((1, 0), (2, 4), (3, 6))
"""Frames of sound in a packet, and for how many peers at least: 20 ms more of delay each, for as much less
work of all (in a mesh of eight 60 ms save more than half of the packets)."""

OPUS_LOSS_STEPS: Final = (5, 10, 20)
"""Percent of loss that Opus is told to expect. Each change of it opens another encoder, so there are few.
From the first one on each packet holds a coarse copy of the one before."""
# --- media workers --------------------------------------------------------------------------------

WORKER_MESSAGE_MAX: Final = 96 * 1024
"""Octets of one message between a node and a worker (memory of a node whose worker was taken over):
statistics and a control message fit."""

WORKER_TEXT_MAX: Final = 1024
"""Characters of one text that a worker tells, which people are shown."""

WORKER_COUNTERS_MAX: Final = 512
"""Names in one table that a worker tells."""

WORKER_CANDIDATES_MAX: Final = 64
"""Candidates in one message; what a call takes of them is ICE_REMOTE_CANDIDATES_MAX."""

WORKER_BATCH: Final = 64
"""Messages of a worker that one wake-up of the loop takes: then others have their turn."""

WORKER_RATE: Final = 2000
"""Messages a second that are read of one endpoint (a worker that floods): a call makes some twenty."""

WORKER_DATAGRAM_RATE: Final = 20_000
"""Datagrams a second that are taken of one endpoint: 20 MB/s, more than one worker encrypts."""

WORKER_DATAGRAM_MAX: Final = 2048
"""Octets of a datagram: what DTLS and RTP make fits an Ethernet frame; longer ones are dropped."""

WORKER_DATAGRAMS_MAX: Final = 256
"""Datagrams that wait for a worker that is behind, a tenth of a second of video: then they are lost, as on a
line."""

WORKER_WAITING_MAX: Final = 512
"""Messages that wait for a worker: one that has so many unread is stuck."""

WORKER_EVENTS_MAX: Final = 1024
"""Events of a worker that wait for the call (memory); one that tells more is ended."""

WORKER_CONTROL_RATE: Final = 500
"""Control messages of a peer that are told a second (a peer that floods the node through its worker)."""

WORKER_BUFFER: Final = 1024 * 1024
"""Octets that the kernel holds each way, if it may: a burst of a keyframe."""

WORKER_PING: Final = 0.2
"""How often a worker is asked whether its loop is alive."""

WORKER_SILENT: Final = 5
"""Questions without an answer after which a worker is ended: 1 s. On a machine that has twice as much to do
as it can, a room makes its links anew in 1.3 s more, which is 3 s with room to spare."""

WORKER_COUNT: Final = 0.25
"""How often a worker tells its statistics."""

WORKER_START: Final = 10.0
"""For the first worker: loading the media engine takes 0.5 s, on a slow disk some seconds."""

WORKER_END: Final = 15.0
"""For closing a worker's endpoints, recordings included; then it is killed."""

WORKER_SPARE: Final = 2.0
"""How long after a worker was taken the next one is forked: then the call that took it is connected."""

WORKER_EXIT: Final = 1.0
"""For a worker without endpoints to exit; then it is killed."""

WORKER_WARM: Final = 300.0
"""How long the media engine stays loaded after the last call: an idle node is small again."""

WORKER_MEMORY_MAX: Final = 2 * 1024**3
"""Octets of data that one worker may hold (a stream that makes a decoder take memory without end)."""

WORKER_FDS_MAX: Final = 256
"""Files and sockets that one worker may hold: a room of 16 has 2 for each member, and its recordings."""

# --- post -----------------------------------------------------------------------------------------

POST_REFRESH: Final = 60.0
"""The longest pause between two looks at what is to be renewed (a clock that was set, a suspended
machine)."""

POST_RETRY: Final = 10.0
"""Pause before what the disk refused is tried again."""

PRESENCES_KNOWN_MAX: Final = 8
"""Presences of ours that an offer may be bound to while they live; two, unless the name or the clock changes
(memory)."""

PRESENCE_CACHE: Final = 600.0
"""How long a presence is used without asking again: below half its life, so its prekey is still held."""

PRESENCE_CACHE_MAX: Final = 256
"""Presences kept for later calls (memory)."""

RENDEZVOUS_HEAD_START: Final = 0.3
"""How much later a contact is looked for by its ID than by its secret (RFC 8305 section 5 advises 0.25 s): as
long as two look-ups take, so that who watches the inbox of an ID mostly sees no contact there."""

RENDEZVOUS_GRACE: Final = 7 * 24 * 3600.0
"""How long contacts are told of a new rendezvous secret, and how long the old one leads to us in
contacts-only mode (a removed contact that goes on seeing when we are online)."""

RENDEZVOUS_REPLACED_MAX: Final = 4
"""Replaced secrets that are served at a time, the newest (somebody who removes contacts one by one)."""

RENDEZVOUS_PER_CALL_MAX: Final = 16
"""Rendezvous secrets of the peer that are looked at in one call (a contact that says a newer one a thousand
times a second: each is a write to the disk, which messages that ring wait for). Later ones come by sealed
message."""

HANDOVER_RETRY: Final = 2.0
HANDOVER_RETRY_MAX: Final = 6 * 3600.0
"""First and longest pause between two tries to tell a contact of our secret; doubled each time, so 40 tries
in a week (look-ups for contacts that never come back)."""

HANDOVERS_AT_ONCE: Final = 4
"""Contacts told at a time (10,000 look-ups at once when one of 10,000 contacts is removed)."""

REPLY_BOXES_MAX: Final = 64
"""Offers of ours whose replies are awaited (our own use; each costs leases at other nodes)."""

REPLY_WATCHES_MAX: Final = 4
"""Deliveries of one offer whose nodes push replies to us; each is renewed every few seconds (a callee that
takes an offer and never rings)."""

CLOCK_TOLD_MAX: Final = 1024
"""Calls that were told about a clock difference (a replayed old offer must not make us send for ever)."""

MISSED_PER_PEER_MAX: Final = 32
"""Missed calls that one peer may tell of and nobody has looked at (a contact that fills the history)."""

MISSED_KNOWN_MAX: Final = 1024
"""Late messages remembered so that a holder that repeats them costs no disk (memory)."""

MISSED_LIFE: Final = 7 * 86400
"""Seconds for which a missed call is told, and believed (notes that pile up; forged ones of long ago)."""

MISSED_NOTES_MAX: Final = 256
"""Contacts for whom a note of our calls is kept, the newest (disk, and look-ups for them)."""

MISSED_FIRST: Final = 5.0
"""Seconds from the start, or from the call's end, to the first attempt to tell a missed call."""

MISSED_PAUSE: Final = 60.0
"""Pause between the first two attempts at one contact; doubled each time (our own look-ups)."""

MISSED_PAUSE_MAX: Final = MESSAGE_TTL_MAX
"""Longest pause between two attempts: so long the nodes keep the note for a callee that comes back."""

INBOX_LOOK_BACK: Final = 120.0
"""Seconds after a start or a sleep in which inboxes of the last minutes are watched, too, for what waits."""

MESSAGE_TTL: Final = 120
"""How long a storage node keeps a reply: longer than any caller waits for it."""

# --- node -----------------------------------------------------------------------------------------

EVENTS_UNREAD_MAX: Final = 1000
"""Events that a listener may leave unread before it is dropped (memory)."""

CALL_EVENTS_MAX: Final = 500
"""Events kept of one call for who comes late (a peer that floods chat)."""

CALLS_LIVE_MAX: Final = 8
"""Calls at a time, ringing ones included (a flood of valid offers must not exhaust sockets)."""

CALLS_PER_PEER_MAX: Final = 2
"""Of these, calls of one peer: the new one, and one whose media are still being closed (offers and hang-ups
in turn, faster than sockets can be given back)."""

CALLS_BUSY_PER_SECOND: Final = 1.0
CALLS_BUSY_BURST: Final = 8.0
"""Contacts' offers that are answered with busy because there is no place: each answer is sealed and delivered
(a contact that floods)."""

CALLS_STRANGERS_MAX: Final = 4
"""Of these, calls that strangers may begin: the other places are for contacts and for our own calls."""

MATE_BURST: Final = 64
"""Letters that are taken from one member of a room in a row: links are made anew when networks change."""

MATE_PAUSE: Final = 0.25
"""Seconds until one more is: a member that floods fills no disk with what it is remembered by."""

MATES_KNOWN_MAX: Final = 256
"""Members whose purses are remembered (identities cost nothing)."""

STRANGERS_BURST: Final = 64
"""Messages taken from strangers at once, from all of them together: identities cost nothing."""

STRANGERS_PAUSE: Final = 1.0
"""Seconds in which strangers may send one more: each costs disk writes, a reply and a line of history."""

CALLS_ENDED_MAX: Final = 100
"""Ended calls kept in memory; they catch late messages about them."""

INVITE_RETRY: Final = 2.0
INVITE_RETRY_MAX: Final = 900.0
"""First and longest pause between two tries to reach an inviter; doubled each time."""

CONTACT_ACK: Final = 5.0
"""How long accepting an invite waits for the inviter's word."""

BOOTSTRAP_RETRY: Final = 2.0
"""First pause after nobody answered; doubled up to BOOTSTRAP_RETRY_MAX."""

BOOTSTRAP_RETRY_MAX: Final = 60.0
"""Longest pause between two tries to join."""

WORK_RESTART: Final = 10.0
"""Before lasting work of a node that ended by a bug begins anew: what meets the bug at once is no busy
loop."""

SHUTDOWN_PATIENCE: Final = 3.0
"""How long a node that stops lets its last messages leave."""

WARNINGS_MAX: Final = 20
"""Warnings kept for the status."""

# --- pings ----------------------------------------------------------------------------------------

PING_COUNT: Final = 10
PING_INTERVAL: Final = 1.0
"""Probes of a ping, and seconds between two, unless the user says otherwise."""

PING_COUNT_UNTIL_DIRECT: Final = 30
"""Probes while a direct path is waited for: longer than any way of making one takes."""

PING_COUNT_MAX: Final = 600
PING_LIFE: Final = 60.0
"""Probes and seconds of one ping at most: both ends hold sockets and candidates for it."""

PING_INTERVAL_MIN: Final = 0.1
"""Least pause between two probes of one ping (a contact that makes us answer checks without end)."""

PING_PATIENCE: Final = 1.0
"""Seconds that the last probe waits for its reply at least."""

PING_ANSWER: Final = 5.0
"""From the offer to the answer of a peer whose machine has it: after that it does not answer pings."""

PING_OFFER_LIFE: Final = 20.0
"""Seconds for which a ping offer is valid: nobody waits for its answer any longer."""

PINGS_SENT_MAX: Final = 4
"""Pings of our own at a time (scripts that forget to end them)."""

PINGS_ANSWERED_MAX: Final = 4
"""Pings of contacts that are answered at a time, one of each (sockets, checks to addresses of their
choice)."""

PINGS_ANSWERED_LIFE: Final = 90.0
"""Seconds after which a ping that is answered ends, whatever its sender forgets."""

PINGS_BURST: Final = 5
PING_PAUSE: Final = 2.0
"""Pings of one contact that are answered one after the other, and seconds in which it may send one more: each
costs a write to the disk, up to 84 checks and a reply."""

PINGS_PEERS_MAX: Final = 256
"""Contacts whose pings are counted; the one that began longest ago is forgotten (memory)."""

# --- netcheck and doctor --------------------------------------------------------------------------

NETCHECK_NODES: Final = 6
"""DHT nodes of each family that one check asks: enough that one dead one says nothing (load on others)."""

NETCHECK_RESOLVE: Final = 3.0
"""Seconds that resolving a configured host may take in a check."""

HAIRPIN_TRIES: Final = 3
HAIRPIN_PAUSE: Final = 0.25
"""Requests to our own outside address, and seconds between two: the way leads to the router and back."""

FILTERING_PATIENCE: Final = 3.0
"""Seconds to have a relay ask whether another port of it gets in to ours."""

CLOCK_SAMPLES: Final = 16
"""Fresh messages by whose dates our clock is judged, the latest."""

# --- bootstrap ladder -----------------------------------------------------------------------------

LADDER_CONTACTS_ENOUGH: Final = 4
"""Contacts with which a node has joined: with fewer it also asks Mainline, if it may."""

LADDER_MAINLINE_AFTER: Final = 5.0
"""Seconds that the other rungs get first: Mainline tells strangers that we look for meshcall."""

LADDER_MAINLINE_TIME: Final = 60.0
"""Seconds that one search in Mainline may take: a table that begins empty needs about 20."""

LADDER_MAINLINE_RETRY: Final = 120.0
LADDER_MAINLINE_RETRY_MAX: Final = 3600.0
"""First and longest pause between two searches in Mainline; doubled each time (load on its nodes)."""

LADDER_MAINLINE_PEERS_MAX: Final = 50
"""Addresses taken from one search: anybody can announce anything there, victims' addresses included."""

LADDER_MAINLINE_MARGIN: Final = 3600.0
"""Seconds around midnight UTC in which two days' infohashes are used: clocks differ, announcements last."""

LADDER_LAN_ASKED_MAX: Final = 16
"""LAN addresses asked at a time (a host that announces hundreds of services)."""

LADDER_LAN_SOON: Final = 2.0
LADDER_LAN_AGAIN: Final = 60.0
"""Seconds before one LAN address is asked again: the first time, and at most; twice as long each time."""

LADDER_POLL: Final = 1.0
LADDER_POLL_JOINED: Final = 5.0
"""Seconds between looks at the number of contacts: while they are too few, and when they are enough."""

LADDER_RESOLVE: Final = 10.0
"""Seconds that resolving one configured host may take."""

MAINLINE_LINE_MAX: Final = 65536
"""Octets in one line of the Mainline worker (a worker that a hostile datagram took over)."""

MAINLINE_RESTART: Final = 60.0
"""Seconds before a Mainline worker that died is started again."""

# --- network watcher ------------------------------------------------------------------------------

NETWORK_SETTLE: Final = 0.3
"""Seconds of quiet after which a change of interfaces is looked at: a new link sends a burst of news."""

NETWORK_SETTLE_MAX: Final = 2.0
"""Longest wait for that quiet (an interface that never rests)."""

NETWORK_PAUSE: Final = 3.0
"""Least seconds between two changes that are acted on (forged router advertisements, loose cables)."""

NETWORK_POLL: Final = 2.0
"""Seconds between looks at the clocks, and at the interfaces where the system does not tell of changes."""

NETWORK_SLEEP: Final = 5.0
"""Seconds that the machine must have slept to count as a change of network."""

# --- discovery ------------------------------------------------------------------------------------

LAN_SERVICES_MAX: Final = 256
"""mDNS services remembered (a host on the LAN that announces thousands)."""

LAN_CLAIMS_MAX: Final = 4
"""Services taken seriously that show the hint of one peer: hints are seen by all and can be copied."""

LAN_TXT_MAX: Final = 1000
"""Octets of a TXT record that are looked at; ours have less than 180, and up to 200 more for each of four
rooms (RFC 6763 section 6.2: under 1300, it fits one packet)."""

LAN_ADDRESSES_MAX: Final = 8
"""Addresses taken from one service, and announced for ours (datagrams sent to whoever a spoofer names)."""

LAN_RESOLVING_MAX: Final = 16
"""Services whose records are being asked for at once (a flood of names without addresses)."""

LAN_RESOLVE_MS: Final = 3000
"""Milliseconds that the records of a service may take."""

LAN_POLL: Final = 2.0
"""Pause between looks at the network interfaces, and at the calendar."""

LAN_HOST_TTL: Final = 120
"""Seconds that our addresses live in others' caches (RFC 6762 section 10)."""

LAN_OTHER_TTL: Final = 1200
"""Seconds that our other records do: RFC 6762 section 10 advises 4500, but a killed peer would linger."""

LAN_SWEEP: Final = 6.0
"""After a change of networks, how long a service may take to be seen again: three queries of a browser."""

LAN_NAME_MAX: Final = 64
"""Octets of a name that somebody on the LAN gives itself."""

LAN_USELESS_MAX: Final = 2048
"""Services refused before mDNS is begun afresh: zeroconf remembers every name for its TTL (memory)."""

LAN_RENEW: Final = 1.0
"""Pause before that: RFC 6762 section 8.3 wants a second between announcements."""

DIRECTORY_PEERS_MAX: Final = 1024
"""Peers remembered per source; beyond it the one that was seen longest ago goes (memory)."""

DIRECTORY_ADDRESSES_MAX: Final = 8
"""Addresses remembered per peer and source (a peer that moves about, or lies)."""

MEDIA_OPENING_GRACE: Final = 0.5
"""How long closing a call waits for its endpoint to finish opening."""

# --- rooms ----------------------------------------------------------------------------------------

ROOM_SECRET: Final = 32
"""Octets of a room's secret: who has it is let in, so it can't be guessed."""

ROOM_MEMBERS_MAX: Final = 16
"""Members at once: in a full mesh each sends to every other, and one link costs about 1 % of a core idle."""

ROOM_CROWD: Final = 4
"""People beyond whom pictures are asked for as small as tiles, as the page does (web/js/call/layers.js)."""

ROOM_ENTRIES_MAX: Final = 64
"""Members remembered with those who left (a member that invents members): four times a full room. Beyond it
the one that has been away longest goes, and nobody who is here."""

ROOM_REMOVALS_MAX: Final = 256
"""Removals kept, for the life of the room; only its creator can sign one (disk)."""

ROOM_BLOCKED_MAX: Final = 256
"""Members blocked for ourselves (disk)."""

ROOM_LETTER_MAX: Final = 600
"""Octets of a letter: what fits a sealed message body of ``BODY_MAX`` with its field's head."""

ROOM_MESSAGE_MAX: Final = 16_384
"""Octets of one message on a link: smaller than an SCTP user message that every stack takes (RFC 8831 section
6.6)."""

ROOM_BUNDLE: Final = 8192
"""Octets of one sync, about: a long roster goes as several, and chat comes in between."""

ROOM_BEAT: Final = 1.0
"""Seconds between two signs of life of a member to each other one: one signature a second."""

ROOM_SILENCE: Final = 2.5
"""Seconds without a newer sign of life after which a member is not here: one may be late, and who dies is
gone from every list within three seconds."""

ROOM_LATE: Final = 1.6
"""Seconds without a message after which a link does not count, and its member is asked by letter: so it is
heard of before it is taken for lost."""

ROOM_PUSH: Final = 0.1
"""Seconds between two changes of our own state that are told (a member that toggles)."""

ROOM_OFFER_WAIT: Final = 1.5
"""Seconds that the one with the higher ID waits for the offer of the lower one, before it offers itself."""

ROOM_NEWCOMER: Final = 2.0
"""Seconds after coming in, in which we offer to all at once."""

ROOM_FIRST_WAIT: Final = 0.5
"""Seconds that members wait for the offers of one that has just come in: both offering costs both twice."""

ROOM_CONNECT_RETRY: Final = 0.5
ROOM_CONNECT_RETRY_MAX: Final = 8.0
"""First and longest pause before a link that failed is tried again while its member is here; doubled."""

ROOM_CONNECT_PATIENCE: Final = 15.0
"""Seconds for a link to come up; a call says no path after 10."""

ROOM_LINK_SILENCE: Final = 5.0
"""Seconds for which a link must have been silent to be made anew: a machine that is busy for less would pay
for its own slowness with a new call."""

ROOM_LINK_PATIENCE: Final = 0.7
ROOM_LINK_PATIENCE_MORE: Final = 1.0
"""Seconds that a silent link may stay silent after a letter of its member has come through: then it is made
anew. SCTP doubles its pauses (RFC 9260 section 6.3.3), so after 20 s without a path it wakes too late."""

ROOM_SEEK: Final = 1.0
ROOM_SEEK_LATE: Final = 2.0
ROOM_SEEK_RARE: Final = 10.0
"""Pauses between two letters to a lost member: in the first minute, in the first ten, and afterwards."""

ROOM_SEEK_SOON: Final = 60.0
ROOM_SEEK_LONG: Final = 600.0
ROOM_SEEK_END: Final = 3600.0
"""Seconds after which a lost member is looked for less often, rarely, and no more (its mDNS still brings it
back)."""

ROOM_LOST_SHOWN: Final = 15.0
"""Seconds after its last sign of life in which a lost member is shown as lost, and not yet left out: who does
not come back by then most likely died, and its tile takes room from those who are here."""

ROOM_SEEKS_PER_SECOND: Final = 16.0
ROOM_SEEKS_BURST: Final = 32.0
"""Letters to members that are looked for: all of a full room; who was known first goes first (letters to IDs
that a member invents)."""

ROOM_CONNECTING_MAX: Final = 16
"""Links that we offer at once: all of a full room (offers to IDs that a member invents)."""

ROOM_REMEMBERED: Final = 8
"""Members of last time that are looked for when we come back in, those seen last."""

ROOM_REMEMBERED_TRIES: Final = 5
"""Letters to each of them, one a second; then they are looked for rarely (a room that nobody is in)."""

ROOM_SIGHTED_MAX: Final = 32
"""IDs that mDNS shows as members and nobody knows, at once (announcements that name others' IDs)."""

ROOM_SIGHTED_TRIES: Final = 3
"""Letters to an ID that mDNS shows as a member and nobody knows (announcements that name others' IDs)."""

ROOM_ANSWERS_PER_SECOND: Final = 2.5
ROOM_ANSWERS_BURST: Final = 6.0
"""Letters in answer to letters of one peer (a peer that has us write all the time); coming in takes three."""

ROOM_LETTERS_PER_SECOND: Final = 20.0
ROOM_LETTERS_BURST: Final = 60.0
"""Letters of all peers that a room looks at: a full room that comes back sends 15 a second (floods)."""

ROOM_LETTERS_PER_PEER: Final = 4.0
ROOM_LETTERS_PER_PEER_BURST: Final = 12.0
"""And of one of them: one a second is what a peer needs (a peer that takes the others' share)."""

ROOM_LETTER_SENDERS: Final = 64
"""Peers whose letters are counted; the longest silent is forgotten (memory)."""

ROOM_MESSAGES_PER_SECOND: Final = 60.0
ROOM_MESSAGES_BURST: Final = 300.0
"""Messages of one link that are looked at: 15 members' signs of life come through one that stands between two
halves, and their changes (a member that floods)."""

ROOM_CHAT_PER_SECOND: Final = 2.0
ROOM_CHAT_BURST: Final = 20.0
"""Chat lines of one member that are shown and passed on: nobody types faster (a member that floods chat)."""

ROOM_CHAT_KEPT: Final = 64
"""Chat lines of one member that are kept for those who missed them, the newest (memory)."""

ROOM_CHAT_KEPT_OCTETS: Final = 128 * 1024
"""Octets of all lines of a room that are kept; who said most loses its oldest first (a member that drives out
the others' lines by long ones)."""

ROOM_CHAT_FRESH: Final = 0.2
"""Seconds up to which a line is passed on as one that is said just now."""

ROOM_CHAT_IDS: Final = 400
"""Lines that one message names: 8,000 octets."""

ROOM_CHAT_OFFERED: Final = 512
"""Lines that one member says to have and that we have not asked for yet (a member that invents lines)."""

ROOM_CHAT_ASKED: Final = 8
"""Lines asked of one member at once: the longest of them fit the control channel with room for the rest."""

ROOM_CHAT_PATIENCE: Final = 4.0
"""Seconds until a line that was asked for and did not come is asked of somebody else (a member that says to
have lines, and gives none)."""

ROOM_CHAT_GIVEN: Final = 64 * 1024
ROOM_CHAT_GIVEN_BURST: Final = 128 * 1024
"""Octets of lines a second that one member is given: all that is kept, once (a member that asks for ever)."""

ROOM_KNOCKS_MAX: Final = 8
"""Who waits to be let in at once; more are told that nobody answers (strangers who cover the screen)."""

ROOM_KNOCK_LIFE: Final = 120.0
"""Seconds that a knock waits: people are asked."""

ROOM_KNOCK_REPEAT: Final = 5.0
"""Seconds between two letters of who waits: whoever it asked may have left."""

ROOM_KNOCK_QUIET: Final = 300.0
"""Seconds in which somebody who was refused is not asked about again (nagging)."""

ROOM_QUIET_MAX: Final = 64
"""Refused knockers remembered (memory)."""

ROOM_CODE_LIFE: Final = 600.0
"""Seconds that a spoken code works."""

ROOM_CODE_TRIES: Final = 5
"""Wrong tries that burn a code: of 65,536 codes, so one chance in 13,000 for who guesses (guessing)."""

ROOM_CODE_RUNS: Final = 4
"""Key exchanges by code at once; a newer one takes the place of the oldest (memory)."""

ROOM_CODE_RUNS_PER_SECOND: Final = 2.0
ROOM_CODE_RUNS_BURST: Final = 6.0
"""Key exchanges begun: each costs 7 ms (a flood of first steps)."""

ROOM_CODE_MEMBERS: Final = 4
"""Members with one nameplate that a code is tried with: two rooms may have drawn the same."""

ROOM_JOIN_RETRY: Final = 0.5
ROOM_JOIN_RETRY_MAX: Final = 2.0
"""First and longest pause before a letter of who wants to come in is sent again; doubled."""

ROOM_JOIN_PATIENCE: Final = 12.0
"""Seconds until somebody in the room must have answered."""

ROOM_JOIN_STAGGER: Final = 0.3
"""Seconds between the members that are asked by an invite: the inviter first."""

ROOM_JOIN_ASKED: Final = 8
"""Members that are asked to come in at a time."""

ROOM_JOIN_CLAIMS: Final = 128
"""Others that announce a room of that name and are asked in turns, as many as rooms are remembered.
Caps what a flood of the real name makes us hold."""

ROOM_WELCOME_MEMBERS: Final = 8
"""Members named to a newcomer: they fit a letter, and one of them tells the rest."""

ROOM_INVITE_MEMBERS: Final = 4
"""Members in an invite: the inviter may have left, and the link stays one that people can send."""

ROOM_SETTINGS_MAX: Final = 16
"""Members whose words about the lock are kept, the newest (a member that invents members)."""

ROOM_DIGEST_PAUSE: Final = 5.0
"""Seconds between two syncs with one member because its digest differs (two that can't agree)."""

ROOM_COUNTER_MAX: Final = 2**63
"""Highest incarnation, sequence number and count of changes that is read: one can still count on from it."""

ROOM_MEMORY_MAX: Final = 65_536
"""Octets of what is kept of a room over a restart."""

ROOM_ANNOUNCED_MAX: Final = 4
"""Rooms that a machine announces, and that are read of one (a TXT record is one packet)."""

ROOM_SIGHTINGS_MAX: Final = 128
"""Rooms on the LAN that are remembered, beside those that we are in (a machine that announces hundreds)."""

ROOM_SIGHTINGS_PER_SERVICE: Final = 4
"""Of these, rooms of one service."""

ROOM_SIGHTERS_MAX: Final = 32
"""Announcers remembered of one room (announcements that copy a tag)."""

# --- port mapping ---------------------------------------------------------------------------------

PORTMAP_LIFETIME: Final = 3600
"""Asked for; half of what RFC 6886 section 3.3 recommends: so long stays the mapping of a daemon that was
killed."""

PORTMAP_RTO: Final = 0.1
"""Until the first retransmission, doubled each time; a gateway is one hop away."""

PORTMAP_TRIES: Final = 6
"""Copies of a request: given up after 6.3 s. RFC 6886 section 3.1 goes on for a minute."""

PORTMAP_VERDICT: Final = 0.3
"""How long a gateway is waited for before the state says that it is silent; later answers count, too."""

PORTMAP_HEAD_START: Final = 0.04
"""For each better protocol, before a worse one asks for mappings."""

PORTMAP_SETTLE: Final = 7.0
"""After this nothing is waited for any more, and it is planned when to ask again."""

PORTMAP_SILENT: Final = 60.0
PORTMAP_SILENT_MAX: Final = 3600.0
"""Pauses between questions to a gateway that does not answer: doubled each time (noise on a network)."""

PORTMAP_REFUSED: Final = 300.0
"""Pause after a refusal, unless the gateway names a longer one."""

PORTMAP_RENEW_MIN: Final = 5.0
"""A life that is shorter counts as this long (a gateway that has us ask all the time)."""

PORTMAP_RENEW_MAX: Final = 3600.0
"""A mapping is renewed after this at the latest, however long it lives (a gateway that grants a century)."""

PORTMAP_LOST: Final = 1.0
"""A gateway that has lost its mappings has so long to make ours again before we count them as gone."""

PORTMAP_LOOK: Final = 60.0
"""Pause between questions whether the gateway has lost its mappings; its announcement may have been lost."""

PORTMAP_ANNOUNCE_SPREAD: Final = 0.5
"""We ask within this after an announcement, by chance: all clients of the gateway heard it (RFC 6887 section
14.1.3)."""

PORTMAP_ANNOUNCE_PAUSE: Final = 5.0
"""Announcements are acted on once in this (somebody on the LAN who sends them in the gateway's name)."""

PORTMAP_GATEWAYS_MAX: Final = 4
"""Gateways that are asked, of all interfaces (memory and sockets)."""

PORTMAP_RELEASE: Final = 0.5
"""At exit the mappings have so long to be removed; then they end by themselves."""

PORTMAP_SEARCHES: Final = 3
"""Searches for a UPnP gateway before it is given up: 0, 0.1 and 0.5 s."""

PORTMAP_SSDP_MAX: Final = 2048
"""Octets of an answer to a search: real ones have 500."""

PORTMAP_SSDP_ANSWERS_MAX: Final = 64
"""Answers in the router's name to one search that are read (a flood from the LAN)."""

PORTMAP_LOCATION_MAX: Final = 256
"""Characters of the address of a description."""

PORTMAP_UPNP_RENEW: Final = 600.0
"""A mapping by UPnP is renewed at least so often: nothing else tells that the gateway has lost it."""

PORTMAP_UPNP_BODY_MAX: Final = 65_536
"""Octets of an HTTP answer of a gateway (memory): real descriptions have less than 20,000."""

PORTMAP_UPNP_REQUESTS_MAX: Final = 24
"""HTTP requests for one description: a page for each service that it lists (a description without end)."""

PORTMAP_UPNP_PATIENCE: Final = 5.0
"""For all that is said to a UPnP gateway at one time (a gateway that answers an octet a second)."""

PORTMAP_UPNP_PORTS: Final = 3
"""External ports that are tried when the first ones are taken by others."""

# --- stun -----------------------------------------------------------------------------------------

STUN_SIZE_MAX: Final = 1500
"""Octets of a message that is looked at: one datagram on Ethernet; a TURN indication holds a whole one."""

STUN_ATTRIBUTES_MAX: Final = 32
"""Attributes that are looked at: real messages have about twelve at most (time for empty ones)."""

STUN_REPLY_RATIO: Final = 3
"""An answer is at most so many times as long as the request (amplification to a forged source)."""

# --- turn -----------------------------------------------------------------------------------------

TURN_USERNAME_MAX: Final = 128
"""Octets of a username that are looked at; ours have 11 and the user's name (RFC 8489 allows 508)."""

TURN_CREDENTIALS_MAX: Final = 24 * 3600
"""Seconds that credentials may be good for (one that leaks is used by others until then)."""

TURN_NONCE_LIFE: Final = 600.0
"""Seconds that a nonce is good: RFC 8656 section 5 advises at most an hour (replay of a request)."""

TURN_CHALLENGES_PER_SECOND: Final = 500
"""Answers to requests without good credentials: a flood from invented addresses costs no more uplink."""

TURN_LIFETIME: Final = 600
"""Seconds that an allocation lives unless a client asks for more (RFC 8656 section 3.2)."""

TURN_LIFETIME_MAX: Final = 3600
"""And what it may ask for (RFC 8656 section 7.2: ports held by clients that are gone)."""

TURN_AGE_MAX: Final = 12 * 3600
"""Seconds after which an allocation is refreshed no more: credentials are checked when it is made, so that a
call outlives them, and one stolen in time must not hold a port for ever."""

TURN_PERMISSION_LIFE: Final = 300.0
"""Seconds (RFC 8656 section 9)."""

TURN_CHANNEL_LIFE: Final = 600.0
"""Seconds (RFC 8656 section 12)."""

TURN_PERMISSIONS_MAX: Final = 64
"""Hosts that one allocation may talk to; a call needs about ten (memory, scans of networks)."""

TURN_CHANNELS_MAX: Final = 64
"""Channels of one allocation (memory, scans of ports)."""

TURN_ALLOCATIONS_MAX: Final = 256
"""Allocations of one relay: each is a socket (a flood must leave the node its own)."""

TURN_ALLOCATIONS_PER_USER: Final = 8
"""Of one user: a call needs two, another two while it roams (one credential passed around)."""

TURN_ALLOCATIONS_PER_ADDRESS: Final = 32
"""Of one IPv4 address or IPv6 /64: many may sit behind one NAT (one host that takes all)."""

TURN_RATE: Final = 1_000_000.0
"""Octets a second through one allocation, both ways together: a 720p call needs 550,000 (file transfer over
somebody's uplink)."""

TURN_TOTAL_RATE: Final = 12_500_000.0
"""Octets a second through all of them: 100 Mbit/s (the volunteer's own line)."""

TURN_BURST: Final = 0.5
"""Seconds for which unused bandwidth is saved up: a key frame comes at once."""

TURN_PEER_PORT_MIN: Final = 1024
"""Nothing is sent to lower ports (DNS, NTP and other services that a relay must not attack)."""

TURN_SWEEP: Final = 1.0
"""Seconds between two looks for what has expired."""

TURN_STREAMS_MAX: Final = 512
"""TCP and TLS connections of one relay (descriptors)."""

TURN_STREAMS_PER_ADDRESS: Final = 64
"""Of one IPv4 address or IPv6 /64."""

TURN_STREAMS_PER_SECOND: Final = 100
"""New connections of one relay: a TLS handshake takes 0.8 ms of the loop (connections made to be closed)."""

TURN_STREAMS_ADDRESS_INTERVAL: Final = 0.25
"""Seconds in which one address may make one more, beyond ``TURN_STREAMS_PER_ADDRESS`` at once."""

TURN_STREAM_SENDERS: Final = 2048
"""Addresses whose connections are counted (memory)."""

TURN_STREAM_PATIENCE: Final = 10.0
"""Seconds that a connection may live without an allocation, its TLS handshake included (idle connections)."""

TURN_STREAM_QUEUE: Final = 262_144
"""Octets queued for a connection that reads slowly; datagrams beyond it are dropped (memory): at 2 Mbit/s one
second, after which audio is worthless."""

TURN_RELAY_BATCH: Final = 64
"""Datagrams taken from one relay socket per wake-up: a flood at one must not keep the others waiting."""

TURN_RELAY_BUFFER: Final = 1 << 20
"""Socket buffers asked for each relay socket: a key frame's burst."""

TURN_RTO: Final = 0.2
"""A client's first retransmission, doubled each time (RFC 8489 section 6.2.1 advises 0.5: a call waits)."""

TURN_TRIES: Final = 5
"""Transmissions of a request; the last is waited for twice as long, so a dead server is known after 6.2 s."""

TURN_REFRESH_AHEAD: Final = 60.0
"""Seconds before its end at which a client refreshes an allocation, a permission or a channel."""

TURN_KEEPALIVE: Final = 15.0
"""Seconds without a datagram after which a client keeps its NAT's mapping open (RFC 8656 section 3.1)."""

TURN_CLIENT_QUEUE: Final = 32
"""Datagrams that wait at a client for a peer's permission (our own use; the oldest go)."""

# --- tunnel ---------------------------------------------------------------------------------------

TUNNEL_FRAMES_PER_SECOND: Final = 50
TUNNEL_FRAMES_BURST: Final = 400
"""DHT frames each way through one allocation: what one machine may ask of one node, for other nodes count a
gateway's clients as one sender (``DHT_REQUESTS_PER_SECOND``); joining takes a burst (one client that scans,
or that uses up what others are due)."""
TUNNEL_ASKS_MAX: Final = 8
"""Frames for the gateway itself on one connection: it takes two to be lent a relay (a stream that is used for
more than that, past the limits of an allocation)."""
TUNNEL_PATIENCE: Final = 3.0
"""Seconds that a connection to a gateway may take until it has an allocation, its TLS included."""
TUNNEL_AFTER: Final = 0.5
"""Seconds without any answer by UDP, after a start or a change of network, until gateways are tried: a round
trip around the world takes 0.4, and a call waits."""
TUNNEL_SILENCE: Final = 3.0
"""The same for UDP that has worked here: a burst of lost packets is no blockade."""
TUNNEL_SILENT_NODES: Final = 2
"""So many different nodes must be silent then: a dead one is no blockade."""
TUNNEL_RACERS: Final = 4
TUNNEL_STAGGER: Final = 0.1
"""Gateways tried at once, and the seconds between their starts (RFC 8305 section 5 advises 0.25: we are
late)."""
TUNNEL_RETRY: Final = 1.0
TUNNEL_RETRY_MAX: Final = 60.0
"""First and longest pause before a gateway that failed is tried again; doubled each time."""
TUNNEL_PROBE: Final = 2.0
TUNNEL_PROBE_MAX: Final = 60.0
"""First and longest pause between two looks whether UDP works meanwhile; doubled each time."""
TUNNEL_PROBED: Final = 4
"""Nodes that are asked each time."""
TUNNEL_GATEWAYS_KEPT: Final = 16
"""Gateways that are remembered (addresses that others name)."""
TUNNEL_NODES_TRIED: Final = 8
"""DHT nodes that are taken for gateways, as they may be, and asked whether UDP works again."""
TUNNEL_POLL: Final = 1.0
TUNNEL_POLL_MIN: Final = 0.01
"""Seconds between two looks at what nobody tells (nodes known by now, calls that have left a tunnel): at
most, and at least."""
TUNNEL_REFUSED_KEPT: Final = 256
"""Hosts of which a gateway has said that it relays nothing to them (candidates that peers name)."""
TUNNEL_DEAD: Final = 4
"""Whole seconds without an acknowledgement until a stream to a gateway is dead (a NAT that rebooted)."""

RELAY_PROOFS: Final = 30
"""Places for proofs in an ask for a relay: always so many, so that nobody learns how many contacts somebody
has; and so long that the answer is shorter than three times the ask."""

RELAY_CREDENTIALS_LIFE: Final = 900
"""Seconds in which credentials granted to a stranger make an allocation (one that leaks); kept fresh ahead of
calls, they need no round trip in one."""

RELAY_GRANTS_PER_SECOND: Final = 20
"""Asks for a relay that are granted, in all: 0.3 ms of cryptography each (floods from many addresses)."""

RELAY_GRANTS_BURST: Final = 100
"""And at once: many clients behind one failed relay turn to the next one together."""

RELAY_GRANT_INTERVAL: Final = 10.0
"""Seconds in which one IPv4 address or IPv6 /64 has one more grant (a host that collects credentials)."""

RELAY_GRANTS_PER_ADDRESS: Final = 16
"""Grants of one address at once: many may sit behind one NAT."""

RELAY_GRANT_SENDERS: Final = 2048
"""Addresses whose grants are remembered (memory)."""

RELAY_CONTACTS_SHARE: Final = 0.5
"""Share of a relay's allocations beyond which only its owner's contacts are granted any: strangers can't take
a relay from those whom it is run for."""

RELAY_TRANSPORTS_MAX: Final = 6
"""Addresses in one grant (a client tries each)."""

# --- the call page --------------------------------------------------------------------------------

ASIDES_EARLY_MAX: Final = 4
"""Messages beside the call that wait until it is connected at our end (memory; a peer sends two)."""

PAGES_MAX: Final = 8
"""Pages of one daemon at once (tabs that a script opens; each has a queue)."""

PAGE_DESCRIBE: Final = 20.0
"""Seconds for a page to open camera and microphone and describe them: a person may be asked for leave."""

PAGE_QUEUE: Final = 1000
"""Messages that wait for a page that reads slowly; beyond that it is dropped (memory)."""

RELAY_EPOCH: Final = 3600
"""Seconds of one set of keys that relays are announced under: who has placed itself near them has to move."""

RELAY_SHARDS: Final = 4
"""Keys of one epoch: what all nodes ask is spread over 32 storage nodes."""

RELAY_SHARD_COPIES: Final = 2
"""Of these a relay announces itself under so many: one lookup finds half of all relays, if they are few."""

RELAY_RECORD_TTL: Final = 1800
"""Seconds that an announcement is kept, at most: a relay that went is asked for so long in vain."""

RELAY_ANNOUNCE: Final = 600.0
"""Seconds between two announcements: two may be lost."""

RELAY_ANNOUNCE_RETRY: Final = 5.0
"""The same when no node took it: the DHT is being joined."""

RELAY_CANDIDATES: Final = 64
"""Relays that a node remembers; what announces itself beyond that takes no place (invented relays)."""

RELAY_CANDIDATES_PER_NETWORK: Final = 4
"""And of one IPv4 /24 or IPv6 /48, of which one is used at a time (one host that announces itself often)."""

RELAYS_HELD: Final = 3
"""Relays of different networks whose credentials a node holds ahead of calls: a call's two and a reserve."""

RELAY_ASKS_AT_ONCE: Final = 4
"""Relays that are asked at the same time: the nearest of some, and no storm."""

RELAY_RENEW: Final = 0.67
"""Share of their life after which credentials are renewed: an idle node asks each of its three relays once in
ten minutes, and no other."""

RELAY_PAUSE: Final = 2.0
"""Before a relay that did not answer, or gave no address, is asked again; doubled each time."""

RELAY_PAUSE_MAX: Final = 1800.0
"""And at most; also after a refusal, for it says that the relay is there."""

RELAY_MISSED: Final = 15.0
"""Seconds for which a relay that a call lost is asked often: so long (``CONSENT_LOST``) a call without a path
waits."""

RELAY_MISSED_PAUSE: Final = 0.5
"""Before it is asked again in this time: with ``DHT_HARD_TIMEOUT`` eight asks, then it is as any other."""

RELAY_REFUSED_PAUSE: Final = 300.0
"""Before a relay that refused is asked again."""

RELAY_FAILURES: Final = 5
"""Silences in a row after which a relay is forgotten."""

RELAY_SEARCH: Final = 10.0
"""Seconds between two searches for announcements while fewer relays are held than that; doubled each time."""

RELAY_SEARCH_MAX: Final = 600.0
"""And at most."""

RELAY_LENDERS_HEARD: Final = 64
"""Nodes that said in a frame that they lend (memory)."""

RELAY_LENDERS_LIFE: Final = 3600.0
"""Seconds for which that is remembered."""

STUN_PROBES: Final = 2
"""Requests with which a relay on a port of its own is tried."""

STUN_PROBE_PAUSE: Final = 0.5
"""Seconds that each waits."""

RELAY_MEASURE_PATIENCE: Final = 2.0
"""Seconds for measuring a configured server, its name included, when a person asks."""

RELAY_ROLE_LOOK: Final = 2.0
"""Seconds between two looks whether a relay is to be lent, and announced."""

TURN_WEB_PORT: Final = 443
"""Where networks that block UDP let TLS through: a relay listens there, too, if it may."""

RELAY_LOOK: Final = 1.0
"""Seconds to the next look at who lends, while fewer relays are held than wanted; doubled each time."""

RELAY_LOOK_MAX: Final = 30.0
"""And at most (a network with few relays is no reason to wake a machine)."""

# --- notifications on the desktop -----------------------------------------------------------------

NOTIFICATIONS_BURST: Final = 5
"""Notifications in a row (a contact that calls again and again; the missed calls of a week at one start)."""

NOTIFICATION_PAUSE: Final = 20.0
"""Seconds for each one after that."""

NOTIFICATION_PATIENCE: Final = 5.0
"""Seconds that showing one may take (a notification server that hangs)."""
