import tseslint from 'typescript-eslint';
import importX from 'eslint-plugin-import-x';

// The rooms of src/ from the ground up. A room imports from those before it, never from one after it.
const rooms = [
  'errors',
  'config',
  'native',
  'protocol',
  'image',
  'policy',
  'modules',
  'container',
  'launch',
  'daemon',
  'cli',
];
const zones = rooms.flatMap((room, floor) =>
  rooms
    .slice(floor + 1)
    .map((above) => ({ target: `./src/${room}`, from: `./src/${above}`, message: `${room} lies below ${above}` })),
);

export default tseslint.config(
  { ignores: ['build/', 'node_modules/', 'coverage/', '**/generated/', '**/*.mjs', '**/*.d.ts'] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'import-x': importX },
    rules: {
      'import-x/no-cycle': 'error',
      'import-x/no-restricted-paths': ['error', { zones }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/prefer-nullish-coalescing': ['error', { ignorePrimitives: { string: true } }],
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      'max-lines': ['error', { max: 450, skipBlankLines: true, skipComments: true }],
      eqeqeq: 'error',
      'no-console': 'error',
    },
  },
  { files: ['scripts/**', 'bench/**', 'test/**'], rules: { 'no-console': 'off' } },
);
