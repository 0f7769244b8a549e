/** Bytes, in decimal units: "136 MB". */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const unit = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** unit;
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit] ?? ''}`;
}

/** Seconds: "42 s", "90 min", "3 d". */
export function age(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  if (whole < 172_800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86_400)} d`;
}

/** Microseconds: "3.21 ms", "0.08 ms", "1.2 s". */
export function duration(microseconds: number): string {
  if (microseconds >= 1e6) return `${(microseconds / 1e6).toFixed(1)} s`;
  return `${(microseconds / 1000).toFixed(microseconds < 1e5 ? 2 : 0)} ms`;
}

/** Seconds since the epoch, as the time of day of whoever looks. */
export function clock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString(undefined, { hour12: false });
}

/** Slurm's word for a step (slurm.h). */
export function stepName(step: number): string {
  const special = new Map([
    [0xfffffffb, 'batch'],
    [0xfffffffc, 'extern'],
    [0xfffffffa, 'interactive'],
    [0xfffffffd, 'prolog'],
  ]);
  return special.get(step) ?? String(step);
}
