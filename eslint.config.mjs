import tseslint from 'typescript-eslint';

// The rooms of src/ from the ground up. A room imports from those before it, never from one after it. Circles within a
// room are found by test/unit/imports.test.ts.
const rooms = [
  'errors',
  'manual',
  'config',
  'native',
  'protocol',
  'options',
  'policy',
  'modules',
  'image',
  'container',
  'launch',
  'health',
  'events',
  'page',
  'daemon',
  'cli',
];
const floors = rooms.map((room, floor) => ({
  files: [`src/${room}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: rooms
          .slice(floor + 1)
          .map((above) => ({ group: [`**/${above}/*`, `**/${above}`], message: `${room} lies below ${above}.` })),
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['build/', 'node_modules/', 'coverage/', '**/generated/', '**/*.mjs', '**/*.d.ts'] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
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
  ...floors.filter((_, floor) => floor < rooms.length - 1),
  { files: ['scripts/**', 'bench/**', 'test/**'], rules: { 'no-console': 'off' } },
);
