# A time server (RFC 5905) on loopback, for the box's own chrony to ask: the time is ARGV[1] plus the
# machine's uptime. usage: perl clock_server.pl PORT SECONDS
use strict;
use Socket;

use constant SINCE_1900 => 2208988800;
my ($port, $start) = @ARGV;
socket(my $server, PF_INET, SOCK_DGRAM, 0) or die $!;
bind($server, sockaddr_in($port, INADDR_LOOPBACK)) or die $!;
while (defined(my $client = recv($server, my $question, 512, 0))) {
    open(my $uptime, '<', '/proc/uptime') or die $!;
    my ($seconds) = split ' ', <$uptime>;
    my $now = $start + SINCE_1900 + $seconds;
    my $time = pack('NN', int($now), ($now - int($now)) * 2**32);
    # version 4, a server's answer, stratum 1, precise to 8 ms
    my $answer = pack('CCCc', 0x24, 1, 6, -7) . pack('NNa4', 0, 0, 'TEST');
    send($server, $answer . $time . substr($question, 40, 8) . $time . $time, 0, $client);
}
