{
  "targets": [
    {
      "target_name": "berth",
      "sources": [
        "<!@(node -p \"const s = require('./native/sources.json'); [...s.sys, ...s.addon, 'native/note.c'].join(' ')\")"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_CPP_EXCEPTIONS", "BERTH_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "cflags_cc": ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type", "-D_GNU_SOURCE"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"]
    }
  ]
}
