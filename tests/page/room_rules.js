// What the pure parts of a meeting must hold: an expression whose value is the cases by name.
// Each gets the modules (see test_rooms.py) and throws when something does not hold. No browser's clock.

({
  setUp(modules) {
    const is = (found, wanted, what = '') => {
      const [one, other] = [found, wanted].map(value => JSON.stringify(value));
      if (one !== other) throw new Error(`${what}: ${one}, not ${other}`);
    };
    const holds = (condition, what) => { if (!condition) throw new Error(what); };
    /** Sizes of the area of the pictures on a desk, a tablet and a phone, upright and lying, and odd ones. */
    const areas = [[1424, 780], [752, 860], [374, 640], [830, 300], [1080, 780], [374, 300], [2540, 1300]];
    /** Time that goes on when it is told to. */
    const clock = () => {
      const self = {at: 0, timers: []};
      self.time = {now: () => self.at, later: (work, ms) => self.timers.push({at: self.at + ms, work})};
      self.go = async ms => {
        const end = self.at + ms;
        for (;;) {
          for (let turn = 0; turn < 8; turn++) await Promise.resolve();
          const due = self.timers.filter(one => one.at <= end).sort((one, other) => one.at - other.at)[0];
          if (!due) break;
          self.timers.splice(self.timers.indexOf(due), 1);
          self.at = due.at;
          due.work();
        }
        self.at = end;
      };
      return self;
    };
    return {...modules, is, holds, areas, clock};
  },

  cases: {
    'one to sixteen people fit every area': m => {
      for (const [width, height] of m.areas)
        for (let count = 1; count <= 16; count++) {
          const {columns, rows, tileWidth, tileHeight} = m.grid(count, width, height);
          const what = `${count} in ${width}x${height}: ${columns}x${rows} of ${tileWidth}x${tileHeight}`;
          m.holds(columns * rows >= count, what);
          m.holds(columns * (rows - 1) < count, `an empty row: ${what}`);
          m.holds(columns * tileWidth + m.GAP * (columns - 1) <= width, `too wide: ${what}`);
          m.holds(rows * tileHeight + m.GAP * (rows - 1) <= height || tileWidth <= 96 + 96, `too high: ${what}`);
          m.holds(tileWidth / tileHeight <= 16 / 9 + 0.05 && tileWidth / tileHeight >= 0.97, `a bad shape: ${what}`);
        }
    },

    'the grid is the one with the largest tiles': m => {
      m.is([m.grid(1, 1424, 780).columns, m.grid(2, 1424, 780).columns, m.grid(4, 1424, 780).columns,
        m.grid(9, 1424, 780).columns, m.grid(16, 1424, 780).columns], [1, 2, 2, 3, 4], 'a desk');
      m.is([m.grid(2, 374, 640).columns, m.grid(4, 374, 640).columns, m.grid(6, 374, 640).columns], [1, 1, 2], 'a phone');
      m.is(m.grid(1, 1600, 900), {columns: 1, rows: 1, tileWidth: 1600, tileHeight: 900}, 'alone');
    },

    'an area that is too small is scrolled': m => {
      const tiny = m.grid(16, 200, 100);
      m.holds(tiny.tileWidth >= 96 && tiny.columns * (tiny.tileWidth + m.GAP) - m.GAP <= 200, JSON.stringify(tiny));
      for (const bad of [m.grid(3, 0, 0), m.grid(1, 5, 5)])
        m.holds(bad.columns >= 1 && bad.tileWidth >= 1 && Number.isFinite(bad.tileHeight), JSON.stringify(bad));
    },

    'a screen in front leaves room for the people': m => {
      for (const [width, height] of m.areas)
        for (let count = 1; count <= 16; count++) {
          const plan = m.front(count, width, height);
          const what = `${count} in ${width}x${height}: ${JSON.stringify(plan)}`;
          const beside = plan.side === 'beside';
          m.is(beside, width > height, what);
          m.holds((beside ? plan.front.width + plan.strip.width : plan.front.height + plan.strip.height) + m.GAP
            <= (beside ? width : height) + 1, what);
          m.holds(plan.tileWidth <= plan.strip.width && plan.tileHeight <= plan.strip.height, what);
          if (beside) m.is(plan.columns * (plan.tileWidth + m.GAP) - m.GAP, plan.strip.width, what);
          m.holds(plan.tileWidth > 40 && plan.tileHeight > 40, what);
          m.holds(plan.front.width * plan.front.height > 0.4 * width * height, `a small screen: ${what}`);
        }
    },

    'beside a screen a full room fits without scrolling': m => {
      const {columns, tileWidth, tileHeight} = m.front(16, 1424, 782);
      m.holds(Math.ceil(16 / columns) * (tileHeight + m.GAP) - m.GAP <= 782, `${columns} columns of ${tileWidth}x${tileHeight}`);
    },

    'a tile asks for what fits it, and for nothing unseen': m => {
      m.is([0, 1, 100, 225, 226, 450, 451, 900, 4000].map(pixels => m.heightFor(pixels)),
        [0, 180, 180, 180, 360, 360, 720, 720, 720]);
      m.is([m.rateFor(180, 3), m.rateFor(360, 3), m.rateFor(360, 9), m.rateFor(720, 9), m.rateFor(0, 3)], [15, 30, 15, 30, 0]);
    },

    'what is asked for does not flutter': m => {
      m.is([m.heightFor(230, 180), m.heightFor(260, 180)], [180, 360], 'up');
      m.is([m.heightFor(220, 360), m.heightFor(195, 360)], [360, 180], 'down');
      m.is([m.heightFor(230, 720), m.heightFor(0, 720), m.heightFor(300, 0)], [360, 0, 360], 'far');
      let height = 0, changes = 0;
      for (let step = 0; step < 200; step++) {
        const next = m.heightFor(225 + 18 * Math.sin(step), height);
        if (next !== height) changes++;
        height = next;
      }
      m.is(changes, 1, 'a window that is dragged about a border');
    },

    'what is asked of us is encoded no larger than it is': m => {
      m.is(m.encoding({kind: 'camera', height: 0, fps: 30}, 720), {active: false});
      const small = m.encoding({kind: 'camera', height: 180, fps: 15}, 720);
      m.is(small, {active: true, scaleResolutionDownBy: 4, maxBitrate: 150_000, maxFramerate: 15});
      m.is(m.encoding({kind: 'camera', height: 720, fps: 0}, 480).scaleResolutionDownBy, 1, 'a small camera');
      m.is(m.encoding({kind: 'camera', height: 360, fps: 0}, 0).scaleResolutionDownBy, 1, 'a camera that is not open yet');
      m.is(m.encoding({kind: 'camera', height: 65_535, fps: 255}, 720), {active: true, scaleResolutionDownBy: 1,
        maxBitrate: 1_500_000, maxFramerate: 30}, 'asked too much');
      m.is(m.encoding({kind: 'screen', height: 1080, fps: 60}, 2160).maxFramerate, 15, 'a screen');
    },

    'a voice is heard, a short noise and a pause are not': m => {
      const voice = new m.Voice();
      const say = (level, from, ms) => { for (let at = from; at < from + ms; at += 100) voice.hear(level, at); };
      say(0.002, 0, 1000);
      say(0.4, 1000, 100);
      say(0.002, 1100, 500);
      m.is(voice.speaking, false, 'a noise');
      say(0.4, 2000, 400);
      m.is(voice.speaking, true, 'a word');
      say(0.002, 2400, 600);
      say(0.4, 3000, 200);
      m.is(voice.speaking, true, 'a pause');
      say(0.002, 3200, 1200);
      m.is(voice.speaking, false, 'the end');
    },

    'a fan is silence after a while, and who speaks beside it is heard': m => {
      const voice = new m.Voice();
      let at = 0;
      const say = (level, ms) => { for (const end = at + ms; at < end; at += 100) voice.hear(level, at); };
      say(0.002, 1000);
      say(0.1, 60_000);
      m.is(voice.speaking, false, 'the fan');
      say(0.5, 500);
      m.is(voice.speaking, true, 'somebody');
    },

    'the speaker is who began last': m => {
      const speaker = new m.Speaker();
      const here = ['a', 'b', 'c'];
      m.is(speaker.update([], here), '');
      m.is(speaker.update(['a'], here), 'a');
      m.is(speaker.update([], here), 'a', 'a pause');
      m.is(speaker.update(['a'], here), 'a');
      m.is(speaker.update(['a', 'b'], here), 'b');
      m.is(speaker.update(['a'], here), 'b', 'a goes on, but did not begin');
      m.is(speaker.update(['a'], ['a', 'c']), '', 'b left');
    },

    'what changes is told at a pace, the newest last': async m => {
      const clock = m.clock(), told = [];
      const pace = new m.Pace(async value => { told.push([clock.at, value]); }, 250, clock.time);
      for (const value of [1, 2, 3]) pace.set(value);
      await clock.go(100);
      pace.set(4);
      await clock.go(1000);
      pace.set(4);
      await clock.go(1000);
      m.is(told, [[0, 1], [250, 4]]);
      pace.forget();
      await clock.go(1000);
      m.is(told.length, 3, 'told anew to who knows nothing');
    },

    'what could not be told is told again, until nobody is told any more': async m => {
      const clock = m.clock();
      let tries = 0;
      const pace = new m.Pace(async () => { tries++; if (tries < 3) throw new Error('no'); }, 250, clock.time);
      pace.set('x');
      await clock.go(2000);
      m.is(tries, 3);
      pace.stop();
      pace.set(null);
      await clock.go(2000);
      m.is(tries, 3);
    },

    'a name, a code and a link are told apart': m => {
      m.is(m.target('  Team meeting '), 'Team meeting');
      m.is(m.target('7 Otter  lemon'), '7-otter-lemon');
      m.is(m.target(' 12-otter-lemon\n'), '12-otter-lemon');
      m.is([m.codeIn('7-otter'), m.codeIn('otter lemon'), m.codeIn('123-otter-lemon')], ['', '', '']);
      const link = 'meshcall:abc?r=Team&m=def#secret';
      m.is(m.target(` ${link} `), link);
      m.is([link, 'MESHCALL:abc?n=x&r=y#s', 'meshcall:abc?n=Ann#x', 'https://x/?r=1', 'meshcall:abc#?r=1'].map(m.isRoomLink),
        [true, true, false, false, false]);
    },

    'a line of chat stands where it was said': m => {
      const chat = new m.ChatPanel(async () => {});
      for (const [text, at_ms] of [['b', 20], ['d', 40], ['a', 10], ['c', 30], ['e', 40]])
        chat.add({mine: false, name: 'Ann', text, at_ms});
      m.is([...chat.element.querySelectorAll('.lines p')].map(one => one.textContent).join(''), 'abcde');
    },

    'how somebody comes through': m => {
      m.is([{loss: 0, rtt: 0.02, path: 'lan'}, {loss: 0.05, rtt: 0.02, path: 'lan'}, {loss: 0, rtt: 0.4, path: 'relay'},
        {loss: 0.2, rtt: null, path: 'lan'}, {loss: 0, rtt: null, path: ''}].map(m.quality),
      ['good', 'fair', 'fair', 'poor', 'poor']);
    },
  },
})
