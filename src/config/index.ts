/**
 * The room for berth.toml: reading it (`loadConfig`, `checkConfig`), the table of its keys (`allKeys`, the type
 * `Config`), and what is derived from the table.
 */
export { checkConfig, ConfigError, DEFAULT_CONFIG_PATH, loadConfig } from './load.js';
export { USUAL_SITE_CHECKS } from './tables/health.js';
export { allKeys, camelCase, type Config, type Key } from './keys.js';
export { parseMount, showMount, Unfit, type Mount } from './kinds.js';
export { parseConfig, type Origin, type Origins, type Parsed } from './parse.js';
export { defaultConfiguration } from './default-file.js';
export { configurationPage } from './document.js';
export { nearest } from './suggest.js';
