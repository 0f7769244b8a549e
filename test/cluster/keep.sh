# Sourced by the scripts that cover directories: keeps paths visible that lie beneath what is covered.

# keep_open PATH...: opens each on a descriptor, before anything covers it.
keep_open() {
	kept_descriptor=4
	for path in "$@"; do
		eval "exec $kept_descriptor<\"\$path\""
		kept_descriptor=$((kept_descriptor + 1))
	done
}

# keep_bind PATH...: the same paths in the same order, mounted where they were.
keep_bind() {
	kept_descriptor=4
	for path in "$@"; do
		mkdir -p "$path"
		# Not canonicalised: the name behind the descriptor is the covered one.
		mount --no-canonicalize --rbind "/proc/self/fd/$kept_descriptor" "$path"
		eval "exec $kept_descriptor<&-"
		kept_descriptor=$((kept_descriptor + 1))
	done
}
