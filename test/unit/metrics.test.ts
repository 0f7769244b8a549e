import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { Meters } from '../../src/daemon/meters.js';
import { Counter, Histogram, metricText } from '../../src/events/index.js';

/** What Prometheus' own tool has against it. */
function promtool(text: string): string {
  return execFileSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8', stdio: 'pipe' });
}

describe("metrics in Prometheus' text format", () => {
  it('are families with help, type and samples', () => {
    const counter = new Counter('berth_things_total', 'Things.');
    counter.add({ kind: 'a' });
    counter.add({ kind: 'a' }, 2);
    counter.add({ kind: 'b' });
    expect(metricText([counter.family()])).toBe(
      '# HELP berth_things_total Things.\n# TYPE berth_things_total counter\n' +
        'berth_things_total{kind="a"} 3\nberth_things_total{kind="b"} 1\n',
    );
  });

  it('of which nothing is known are left out', () => {
    expect(metricText([{ name: 'berth_x', type: 'gauge', help: 'X.', samples: [] }])).toBe('');
  });

  it('have histograms whose buckets hold all that is not above them', () => {
    const histogram = new Histogram('berth_x_seconds', 'X.', [0.1, 1]);
    for (const value of [0.05, 0.1, 0.5, 7]) histogram.observe(value, { phase: 'p' });
    const text = metricText([histogram.family()]);
    expect(text.split('\n').slice(2, -1)).toEqual([
      'berth_x_seconds_bucket{phase="p",le="0.1"} 2',
      'berth_x_seconds_bucket{phase="p",le="1"} 3',
      'berth_x_seconds_bucket{phase="p",le="+Inf"} 4',
      'berth_x_seconds_sum{phase="p"} 7.65',
      'berth_x_seconds_count{phase="p"} 4',
    ]);
    expect(promtool(text)).toBe('');
  });

  it('can hold anything in a label', () => {
    const counter = new Counter('berth_things_total', 'A "thing"\nis a \\ thing.');
    counter.add({ kind: 'a"b\\c\nd' });
    const text = metricText([counter.family()]);
    expect(text).toContain('{kind="a\\"b\\\\c\\nd"} 1');
    expect(promtool(text)).toBe('');
  });
});

describe("the daemon's meters", () => {
  it('count launches by outcome, and give no series to what a client makes up', () => {
    const meters = new Meters();
    meters.launched({ purpose: 'step', start: 'cold', totalUs: 2500, phases: [{ name: 'build', durationUs: 1000 }] });
    meters.launchFailed('rank', 'BERTH_IMAGE_UNKNOWN');
    meters.launchFailed('rank', 'ANYTHING');
    meters.rankJoined(100, 60);
    meters.pulled(1000);
    meters.nodeChanged('resumed');
    const text = metricText(meters.families());
    expect(text).toContain('berth_launches_total{purpose="step",outcome="ok",start="cold"} 1\n');
    expect(text).toContain('berth_launches_total{purpose="rank",outcome="BERTH_IMAGE_UNKNOWN",start="none"} 1\n');
    expect(text).toContain('berth_launches_total{purpose="rank",outcome="other",start="none"} 1\n');
    expect(text).toContain('berth_launch_phase_seconds_bucket{phase="build",start="cold",le="0.001"} 1\n');
    expect(text).toContain('berth_launch_seconds_sum{start="cold"} 0.0025\n');
    expect(text).toContain('berth_node_drains_total{what="resumed"} 1\n');
    expect(text).toContain('berth_pulled_bytes_total 1000\n');
    expect(promtool(text)).toBe('');
  });

  it('know what has not happened yet as zero', () => {
    const text = metricText(new Meters().families());
    expect(text).toContain('berth_launches_total{purpose="step",outcome="ok",start="cold"} 0\n');
    expect(text).toContain('berth_pulls_total{outcome="ok"} 0\n');
    expect(text).toContain('berth_node_drains_total{what="drained"} 0\n');
  });
});
