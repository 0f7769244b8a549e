# Does what systemd does for a service with a socket (sd_listen_fds(3)): listens, and becomes the program when somebody connects.
# Arguments: the socket's path, and the program with its arguments. Says "ready" when it listens.
use strict;
use warnings;
use POSIX ();
use Socket;

my ($path, @program) = @ARGV;
unlink $path;
socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
bind($socket, pack_sockaddr_un($path)) or die "bind $path: $!";
chmod 0666, $path or die "chmod $path: $!";
listen($socket, 4096) or die "listen $path: $!";
$| = 1;
print "ready\n";
vec(my $waiting = '', fileno($socket), 1) = 1;
select($waiting, undef, undef, undef);
# As descriptor 3, without the close-on-exec flag that Perl gives its own.
my $copy = POSIX::dup(fileno($socket)) // die "dup: $!";
POSIX::dup2($copy, 3) // die "dup2: $!";
@ENV{qw(LISTEN_PID LISTEN_FDS)} = ($$, 1);
exec @program or die "exec $program[0]: $!";
