/**
 * Environment in which MPI programs go from one host of a private cluster to another.
 *
 * The hosts have one kernel, by which UCX takes them for one node: it would share memory through /proc and /dev/shm, which
 * they do not share. System V memory they do share, so between hosts that is MPICH's network. Open MPI cannot start with that;
 * it has TCP by UCX (its variables begin with MPI_). Its own TCP ends with a segmentation fault in one of some hundred starts
 * on a busy machine, without a container too: Debian 12's Open MPI 4.1.4 (open-mpi/ompi#12495 has the like).
 * When a program has ended both would say of ranks that were quicker to end that they do not answer.
 */
export const MPI_NETWORK: Readonly<Record<string, string>> = {
  UCX_TLS: 'sysv,self',
  MPI_UCX_TLS: 'tcp,self',
  UCX_LOG_LEVEL: 'fatal',
  OMPI_MCA_pml: 'ucx',
  OMPI_MCA_opal_common_ucx_tls: 'any',
  OMPI_MCA_opal_common_ucx_devices: 'any',
  OMPI_MCA_opal_common_ucx_verbose: '-1',
};

/** The same as a line of a shell script. */
export const EXPORT_MPI_NETWORK = `export ${Object.entries(MPI_NETWORK)
  .map(([name, value]) => `${name}=${value}`)
  .join(' ')}`;
