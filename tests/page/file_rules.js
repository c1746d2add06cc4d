// What the machine of files must hold, and the cleaning of names: an expression whose value is the cases by name.
// Each gets the modules (see test_files.py) and throws when something does not hold. No channel, no clock.

({
  setUp(modules) {
    const {Transfers, encode, limits} = modules;
    const is = (found, wanted, what = '') => {
      const [one, other] = [found, wanted].map(value => JSON.stringify(value));
      if (one !== other) throw new Error(`${what}: ${one}, not ${other}`);
    };
    const buffer = data => data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
    /** One side: what it was told to do is carried out by hand, or by `run`. */
    const side = (prefix = '') => {
      const machine = new Transfers(prefix);
      const self = {machine, shown: {}, sent: [], did: [], now: 0};
      self.run = () => {
        for (const command of machine.drain()) {
          self.did.push(command);
          if (command.do === 'send') self.sent.push(command.data);
          if (command.do === 'show') self.shown[command.view.key] = command.view;
        }
        return self;
      };
      self.take = () => { self.run(); return self.did.splice(0); };
      self.hears = (...messages) => {
        for (const one of messages)
          machine.receive(one instanceof ArrayBuffer ? one : buffer(one instanceof Uint8Array ? one : encode(one)), self.now);
        return self.run();
      };
      self.state = key => `${self.shown[key]?.state} ${self.shown[key]?.reason}`.trim();
      return self;
    };
    /** A side whose gate is open, and whose peer takes files. */
    const ready = () => {
      const one = side();
      one.machine.openGate(0);
      one.hears({type: 'hello', most: limits.FILE_MAX});
      one.take();
      one.sent.length = 0;
      return one;
    };
    /** A file of `octets` that is being sent to us, and is accepted. */
    const receiving = octets => {
      const one = ready();
      one.hears({type: 'offer', transfer: 1, octets, name: 'a.bin'});
      one.machine.accept('in-1');
      one.take();
      one.sent.length = 0;
      return one;
    };
    const chunk = (number, size = limits.CHUNK) => ({type: 'chunk', transfer: 1, number, data: new Uint8Array(size)});
    const types = one => one.sent.map(data => data[0]);
    return {...modules, is, buffer, side, ready, receiving, chunk, types};
  },

  cases: {
    'a file goes from one to the other': async m => {
      const [left, right] = [m.side(), m.side()];
      const data = new Uint8Array(5 * m.limits.CHUNK + 7).map((_, at) => at * 31 + (at >> 8));
      const [leaving, arriving] = [new m.Leaving(new Blob([data]), m.limits.CHUNK), new m.Arriving()];
      left.machine.openGate(0);
      right.machine.openGate(0);
      const [key] = left.machine.add([{name: 'dir/a.bin', octets: data.length}], 0);
      for (let idle = 0; idle < 2;) {
        idle++;
        for (const [one, other] of [[left, right], [right, left]]) {
          for (const command of one.take()) {
            idle = 0;
            if (command.do === 'send') other.machine.receive(m.buffer(command.data), 0);
            if (command.do === 'read') one.machine.loaded(key, await leaving.read(command.from, command.octets), 0);
            if (command.do === 'root') one.machine.rooted(key, await leaving.root());
            if (command.do === 'show' && command.view.state === 'offered' && one === right) right.machine.accept('in-1');
            if (command.do === 'keep') { await arriving.keep(command.data); one.machine.kept('in-1'); }
            if (command.do === 'check') one.machine.checked('in-1', await arriving.check(command.root));
          }
        }
      }
      m.is([left.state(key), right.state('in-1'), right.shown['in-1'].name], ['done', 'done', 'a.bin']);
      m.is([...new Uint8Array(await arriving.blob().arrayBuffer())].join(), [...data].join());
      m.is(arriving.blob().type, 'application/octet-stream', 'never a page');
    },

    'the root is the one that is documented': async m => {
      const hash = new m.FileHash();
      const chunks = [new Uint8Array(m.limits.CHUNK).fill(1), new Uint8Array([2])];
      for (const one of chunks) await hash.add(one);
      const sha = async data => new Uint8Array(await crypto.subtle.digest('SHA-256', data));
      const size = [0, 0, 0, 0, 0, 0, 0x40, 1];
      const whole = [...new TextEncoder().encode('meshcall/1/file'), 0, ...size, ...await sha(chunks[0]), ...await sha(chunks[1])];
      m.is([...await hash.root()], [...await sha(new Uint8Array(whole))]);
    },

    'one bit that is another one is noticed': async m => {
      const data = new Uint8Array(3 * m.limits.CHUNK);
      const leaving = new m.Leaving(new Blob([data]), m.limits.CHUNK);
      const [good, bad] = [new m.Arriving(), new m.Arriving()];
      for (const one of await leaving.read(0, data.length)) {
        await good.keep(one);
        await bad.keep(one.slice().fill(bad.blob().size ? 1 : 0, 5, 6));
      }
      m.is([await good.check(await leaving.root()), await bad.check(await leaving.root())], [true, false]);
    },

    'nothing is sent or believed before the gate': m => {
      const one = m.side();
      const [key] = one.machine.add([{name: 'a', octets: 3}], 0);
      one.hears({type: 'offer', transfer: 1, octets: 3, name: 'x'}, m.chunk(0, 3), {type: 'hello', most: 99});
      m.is([one.sent.length, Object.keys(one.shown)], [0, [key]]);
      one.machine.openGate(0);
      m.is(m.types(one.run()), [0x01, 0x02], 'hello, and the offer that waited');
    },

    'who says no hello takes no files': m => {
      const one = m.side();
      const [key] = one.machine.add([{name: 'a', octets: 3}], 0);
      one.machine.openGate(100);
      m.is(one.machine.deadline(), 100 + m.limits.HELLO_PATIENCE);
      one.machine.tick(one.machine.deadline());
      m.is(one.run().state(key), 'ended no-files');
      m.is(one.machine.deadline(), null);
      const [late] = one.machine.add([{name: 'b', octets: 3}], 0);
      m.is(one.run().state(late), 'ended no-files', 'at once');
      one.hears({type: 'hello', most: 99});
      const [better] = one.machine.add([{name: 'c', octets: 3}], 0);
      m.is(one.run().state(better), 'offered');
    },

    'files go one after the other, whatever becomes of them': m => {
      const one = m.ready();
      const keys = one.machine.add(['a', 'b', 'c'].map(name => ({name, octets: 0})), 0);
      m.is(keys.map(key => one.run().state(key)), ['offered', 'waiting', 'waiting']);
      one.hears({type: 'refuse', transfer: 1, reason: 'declined'});
      m.is(keys.map(one.state), ['ended declined-there', 'offered', 'waiting']);
      one.machine.stop(keys[1], 0);
      m.is(keys.map(key => one.run().state(key)), ['ended declined-there', 'ended cancelled', 'offered']);
      one.hears({type: 'accept', transfer: 3});
      one.machine.rooted(keys[2], new Uint8Array(32));
      one.run().hears({type: 'done', transfer: 3});
      m.is(one.state(keys[2]), 'done');
    },

    'what is too large or too much is not offered': m => {
      const one = m.ready();
      const [large] = one.machine.add([{name: 'a', octets: m.limits.FILE_MAX + 1}], 0);
      m.is(one.run().state(large), 'ended too-large');
      const keys = one.machine.add(Array.from({length: m.limits.QUEUE_MAX + 3}, () => ({name: 'a', octets: 1})), 0);
      m.is(one.run().state(keys.at(-1)), 'ended too-many');
      const small = m.side();
      small.machine.openGate(0);
      small.hears({type: 'hello', most: 10});
      const [key] = small.machine.add([{name: 'a', octets: 11}], 0);
      m.is(small.run().state(key), 'ended too-large-there');
    },

    'a chunk before it was accepted ends the transfer': m => {
      const one = m.ready();
      one.hears({type: 'offer', transfer: 1, octets: 5, name: 'a'}, m.chunk(0, 5));
      m.is(one.state('in-1'), 'ended rules');
      m.is(one.did.filter(command => command.do === 'keep'), []);
      m.is([...one.sent.at(-1)], [0x15, 0, 0, 0, 1, m.REASONS.indexOf('rules')], 'the peer is told');
    },

    'more or other octets than offered end the transfer': m => {
      const whole = m.limits.CHUNK;
      for (const [octets, chunks] of [
        [5, [m.chunk(0, 6)]], [5, [m.chunk(0, 4)]], [5, [m.chunk(0, 5), m.chunk(1, 1)]], [whole + 5, [m.chunk(0), m.chunk(1)]],
        [whole + 5, [m.chunk(1, 5)]], [whole + 5, [m.chunk(0), m.chunk(0)]], [0, [m.chunk(0, 1)]],
      ]) {
        const one = m.receiving(octets).hears(...chunks);
        m.is(one.state('in-1'), 'ended rules', `${octets}`);
        m.is(one.did.some(command => command.do === 'drop' && command.key === 'in-1'), true, 'nothing is kept');
      }
    },

    'an end that comes too early, or twice, ends the transfer': m => {
      const end = {type: 'end', transfer: 1, root: new Uint8Array(32)};
      m.is(m.receiving(5).hears(end).state('in-1'), 'ended rules');
      const one = m.receiving(5).hears(m.chunk(0, 5), end);
      m.is(one.state('in-1'), 'checking');
      m.is(one.hears(end).state('in-1'), 'ended rules');
      m.is(m.receiving(5).hears(m.chunk(0, 5), end, m.chunk(1, 5)).state('in-1'), 'ended rules');
    },

    'a wrong hash ends the transfer, and nothing is kept': m => {
      const one = m.receiving(5).hears(m.chunk(0, 5), {type: 'end', transfer: 1, root: new Uint8Array(32)});
      m.is(one.did.filter(command => command.do === 'check'), [], 'before all of it is kept');
      one.machine.kept('in-1');
      m.is(one.run().did.filter(command => command.do === 'check').length, 1);
      one.machine.checked('in-1', false);
      m.is(one.run().state('in-1'), 'ended damaged');
      m.is(one.did.at(-2).do, 'drop');
    },

    'octets that are no message end what is under way, and no call': m => {
      const nonsense = [
        new ArrayBuffer(0), 'text', m.buffer(new Uint8Array([0x77])), m.buffer(new Uint8Array([0x03])),
        m.buffer(new Uint8Array([0x03, 0, 0, 0, 1])), m.buffer(new Uint8Array([0x04, 0, 0, 0, 1, 9])),
        m.buffer(m.encode({type: 'offer', transfer: 2, octets: 1, name: ''})),
        m.buffer(new Uint8Array([0x02, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xfe])),
        m.buffer(m.encode({type: 'offer', transfer: 2, octets: 1, name: 'x'.repeat(m.limits.NAME_SENT_MAX + 1)})),
        m.buffer(m.encode(m.chunk(0, m.limits.CHUNK + 1))),
      ];
      for (const data of nonsense) {
        const one = m.receiving(5);
        one.machine.receive(data, 0);
        m.is(one.run().state('in-1'), 'ended rules', String(data.byteLength ?? data));
      }
    },

    'answers to nothing end what they are about': m => {
      for (const message of [
        {type: 'accept', transfer: 7}, {type: 'ack', transfer: 1, chunks: 1}, {type: 'done', transfer: 1}, {type: 'accept', transfer: 0},
      ]) {
        const one = m.ready();
        const [key] = one.machine.add([{name: 'a', octets: 5}], 0);
        m.is(one.run().hears(message).state(key), 'ended rules', message.type);
      }
      const one = m.ready();
      const [key] = one.machine.add([{name: 'a', octets: 5}], 0);
      one.run().hears({type: 'accept', transfer: 1});
      m.is(one.state(key), 'running');
      m.is(one.hears({type: 'accept', transfer: 1}).state(key), 'ended rules');
    },

    'a transfer that came is not ended by what is about one that goes': m => {
      const one = m.receiving(5).hears({type: 'accept', transfer: 7}, {type: 'refuse', transfer: 9, reason: 'rules'});
      m.is(one.state('in-1'), 'running');
    },

    'what was on its way when it ended is passed over': m => {
      const one = m.receiving(5);
      one.machine.stop('in-1', 0);
      one.run().hears(m.chunk(0, 5), {type: 'end', transfer: 1, root: new Uint8Array(32)}, {type: 'cancel', transfer: 1, reason: 'cancelled'});
      m.is(one.state('in-1'), 'ended cancelled');
      m.is(one.machine.counters, {late: 3});
      one.hears({type: 'offer', transfer: 2, octets: 5, name: 'b'});
      m.is(one.state('in-2'), 'offered', 'the next one is asked about');
    },

    'two offers at once, and an old number, are refused': m => {
      const one = m.ready().hears({type: 'offer', transfer: 3, octets: 5, name: 'a'}, {type: 'offer', transfer: 4, octets: 5, name: 'b'});
      m.is([one.state('in-3'), one.shown['in-4']], ['ended rules', undefined]);
      one.hears({type: 'offer', transfer: 4, octets: 5, name: 'c'});
      m.is(one.shown['in-4'], undefined);
    },

    'a peer that offers without end is heard no more': m => {
      const one = m.ready();
      for (let transfer = 1; transfer <= 100; transfer++)
        one.hears({type: 'offer', transfer, octets: 5, name: 'a'}, {type: 'cancel', transfer, reason: 'cancelled'});
      m.is(Object.keys(one.shown).length, m.limits.STRIKES_MAX);
      m.is(m.types(one).filter(type => type === 0x15).length, 100 - m.limits.STRIKES_MAX);
    },

    'a peer that sends more than is acknowledged is stopped': m => {
      const one = m.receiving(1000 * m.limits.CHUNK);
      for (let number = 0; number <= m.limits.WINDOW_MAX; number++) one.hears(m.chunk(number));
      m.is(one.state('in-1'), 'ended rules');
      m.is(one.machine.counters, {flood: 1});
    },

    'both sides cancel at any time': m => {
      const one = m.receiving(5).hears({type: 'cancel', transfer: 1, reason: 'cancelled'});
      m.is(one.state('in-1'), 'ended cancelled-there');
      const other = m.ready();
      const [key] = other.machine.add([{name: 'a', octets: 5}], 0);
      other.run().hears({type: 'accept', transfer: 1}, {type: 'refuse', transfer: 1, reason: 'cancelled'});
      m.is(other.state(key), 'ended cancelled-there');
      m.is(other.hears(new Uint8Array([0x15, 0, 0, 0, 1, 99])).state(key), 'ended cancelled-there');
    },

    'the end of the call ends all': m => {
      const one = m.receiving(5);
      const keys = one.machine.add(['a', 'b'].map(name => ({name, octets: 5})), 0);
      one.run();
      one.sent.length = 0;
      one.machine.close();
      m.is(['in-1', ...keys].map(key => one.run().state(key)), Array(3).fill('ended call-ended'));
      m.is(one.sent, [], 'and nothing more is said');
      one.hears({type: 'offer', transfer: 2, octets: 5, name: 'a'});
      const [late] = one.machine.add([{name: 'c', octets: 1}], 0);
      m.is([one.shown['in-2'], one.run().state(late)], [undefined, 'ended call-ended']);
    },

    'the queue of the channel is not filled': m => {
      const one = m.ready();
      const octets = 40 * m.limits.CHUNK;
      const [key] = one.machine.add([{name: 'a', octets}], 0);
      one.machine.room = 3 * m.limits.CHUNK;
      one.run().hears({type: 'accept', transfer: 1});
      const load = () => {
        const read = one.take().find(command => command.do === 'read');
        if (read) one.machine.loaded(key, Array.from({length: read.octets / m.limits.CHUNK}, () => new Uint8Array(m.limits.CHUNK)), 0);
      };
      load();
      m.is(m.types(one.run()).filter(type => type === 3).length, 3);
      one.machine.room = m.limits.CHUNK;
      one.machine.pump(0);
      m.is(m.types(one.run()).filter(type => type === 3).length, 4);
    },

    'slow acknowledgements make the window small, fast ones large': m => {
      const one = m.ready();
      const [key] = one.machine.add([{name: 'a', octets: 4000 * m.limits.CHUNK}], 0);
      one.run().hears({type: 'accept', transfer: 1});
      let sent = 0, acked = 0, largest = 0;
      const step = now => {
        one.now = now;
        for (const command of one.take()) {
          if (command.do === 'send' && command.data[0] === 3) sent++;
          if (command.do === 'read')
            one.machine.loaded(key, Array.from({length: command.octets / m.limits.CHUNK}, () => new Uint8Array(m.limits.CHUNK)), now);
        }
        largest = Math.max(largest, sent - acked);
      };
      for (let now = 0; now < 200; now++) {
        step(now);
        if (sent > acked) one.hears({type: 'ack', transfer: 1, chunks: ++acked});
      }
      m.is(largest, m.limits.WINDOW_MAX, 'after fast ones');
      for (let now = 1000; now < 400_000; now += 1000) {
        step(now);
        if (sent > acked) one.hears({type: 'ack', transfer: 1, chunks: ++acked});
      }
      m.is(sent - acked <= m.limits.WINDOW_MIN, true, `after slow ones: ${sent - acked}`);
    },

    'names are safe to show and to save': m => {
      for (const [given, wanted] of [
        ['../../etc/passwd', 'passwd'], ['C:\\Windows\\a.txt', 'a.txt'], ['photo\u202Egpj.exe', 'photogpj.exe'], ['con.txt', '_con.txt'],
        ['LPT1', '_LPT1'], ['.bashrc', 'bashrc'], ['', 'file'], ['..', 'file'], ['-rf', 'rf'], ['a\u0000\n\u001B[2Jb', 'a[2Jb'],
        ['a  \u200B  b', 'a b'], ['<img src=x>.html', '_img src=x_.html'], ['foo. . .', 'foo'], ['\uD800x', 'x'], ['صورة.png', 'صورة.png'],
        ['a\u2029b\u3164', 'ab'], ['x'.repeat(900) + '.jpeg', 'x'.repeat(195) + '.jpeg'],
      ]) m.is(m.cleanName(given), wanted, given);
    },

    'whatever the name, cleaning it twice changes nothing': m => {
      let seed = 7;
      const draw = count => { seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF; return seed % count; };
      const parts = ['a', '.', ' ', '/', '\\', '-', 'con', 'com1', '\u202E', '\u200B', '\u0301', 'e', '💥', '\uD800', ':', '\t', '\n',
        'x'.repeat(90), 'ب', '\u3164', '\u037E', '\u2066'];
      for (let count = 0; count < 20_000; count++) {
        let given = '';
        for (let length = draw(9); length >= 0; length--) given += parts[draw(parts.length)];
        const name = m.cleanName(given);
        m.is(m.cleanName(name), name, JSON.stringify(given));
        const octets = new TextEncoder().encode(name).length;
        if (!name || octets > m.limits.NAME_MAX || /[/\\\p{C}]/u.test(name) || /^[.\s-]|[.\s]$/.test(name))
          throw new Error(JSON.stringify([given, name]));
      }
    },
  },
})
