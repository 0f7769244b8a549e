/** What one file of the modules' directory says. */
export interface Module {
  readonly name: string;
  /** The file, for messages. */
  readonly file: string;
  readonly description: string;
  readonly automatic: Automatic;
  /** Used although the user wants no modules. */
  readonly mandatory: boolean;
  /** Modules that have to be used with it. */
  readonly requires: readonly string[];
  /** Modules that cannot be used with it. */
  readonly conflicts: readonly string[];
  /** Modules that come before it where they are used. What it requires does anyway. */
  readonly after: readonly string[];
  /** Users who have a name in the container, where the node knows them. */
  readonly accounts: readonly string[];
  readonly mounts: readonly ModuleMount[];
  readonly copies: readonly ModuleCopy[];
  readonly environment: readonly ModuleChange[];
  /** Patterns of device nodes; of each, at least one has to be there for the job. */
  readonly devices: readonly string[];
  readonly cdi?: ModuleCdi;
  readonly mpi?: ModuleMpi;
}

/** When a module is used although nobody named it. */
export type Automatic =
  | 'never'
  | 'always'
  /** Where something matches the pattern. */
  | { readonly path: string }
  /** Where the job may use a device node that matches the pattern. */
  | { readonly device: string };

export interface ModuleMount {
  /** A path, or a pattern; may have placeholders. */
  readonly source: string;
  /** Without it, at the source's own path; of a pattern, the directory that what matches appears in. */
  readonly destination?: string;
  readonly readOnly: boolean;
  /** Left out when the source is not there, or not for this user. */
  readonly optional: boolean;
  /** With what is mounted below the source. */
  readonly recursive: boolean;
  readonly propagation: 'slave' | 'private';
}

export interface ModuleCopy {
  /** A path or a pattern. */
  readonly source: string;
  readonly destination?: string;
  readonly optional: boolean;
}

export interface ModuleChange {
  readonly kind: 'unset' | 'set' | 'set_if_unset' | 'prepend' | 'append';
  readonly name: string;
  /** May have placeholders; empty for `unset`. */
  readonly value: string;
  /** One character; empty where the kind needs none. */
  readonly separator: string;
}

export interface ModuleCdi {
  /** VENDOR/CLASS */
  readonly kind: string;
  /** `granted`: those whose device nodes the job may use; or by name, for devices that Slurm does not know of. */
  readonly devices: 'granted' | readonly string[];
}

/** The host's MPI library, to be used instead of an image's. */
export interface ModuleMpi {
  /** Its libraries, such as /usr/lib64/libmpi.so.12. Programs find each by the name that it has here, and by its soname. */
  readonly libraries: readonly string[];
  /** Further names for the first of them: that of others of the same ABI. */
  readonly aliases: readonly string[];
  /** Directories with parts that it loads while it runs. They appear at the same place in the container. */
  readonly components: readonly string[];
  /** Libraries of the image that are kept, by soname, besides those of the C and C++ runtimes. */
  readonly keep: readonly string[];
  /** `version`: an image's library of a later version is an error; `soname`: only one of another ABI is. */
  readonly check: 'version' | 'soname';
}
