/**
 * Configurations for `ssh -G`, written for this: each feature of ssh_config(5) at least once, and where it meets others.
 * `DIR` is the folder that they lie in.
 */
export interface SshConfigCase {
  /** The configuration. */
  readonly text: string;
  /** The host that is asked for. */
  readonly alias?: string;
  /** The first version of OpenSSH that knows all of it. */
  readonly since?: 10;
}

/** Files that some of them include. */
export const included: Readonly<Record<string, string>> = {
  "inc/a.conf": "User from-a\nHost web\nPort 1001\n",
  "inc/b.conf": "Host *\nIdentityFile ~/.ssh/from-b\nMatch host db\nUser from-b\n",
  "inc/.hidden.conf": "User hidden\n",
  "inc/deep/1.conf": "Include DIR/inc/deep/2.conf\nHost other\nUser one\n",
  "inc/deep/2.conf": "Compression yes\nMatch all\nUser two\n",
  "inc/for-web.conf": "LogLevel DEBUG\nHost *\nServerAliveInterval 7\n",
};

/** The configurations. */
export const cases: readonly SshConfigCase[] = [
  { text: "" },
  { text: "# only a comment\n\n   \t\n  # another\n" },
  { text: "Host web\n  HostName web.example\n  User alice\n  Port 2222\nHost *\n  User bob\n  Compression yes\n" },
  { text: "User first\nUser second\nPort 1\nPort 2\n" },
  { text: "Host !web *\nUser no\nHost w?b !x*\nUser yes\nHost web !web\nPort 9\nHost *\nPort 10\n" },
  { text: 'User="a name"\nHostName = web.example\nPort  =  22\nTag=x\n', since: 10 },
  { text: 'User "two words" # comment\nIdentityFile "~/a b"\nIdentityFile \'~/c "d"\'\nIdentityFile ~/e\\ f # g\n' },
  { text: '"User" quoted\nHost\t"web"\n\tPort\t17\t\n' },
  { text: 'LocalCommand echo "a  b"   # no comment here\nPermitLocalCommand yes\n' },
  { text: "HostName %h.example.com\nHostKeyAlias Some-NAME\n" },
  { text: "HostName WEB.Example\nMatch host web.example\nUser matched\n", alias: "WEB" },
  { text: "Host web\nUser lower\nHost WEB\nUser upper\n", alias: "WEB" },
  { text: "HostName 127.1\nMatch final host 127.0.0.1\nUser numeric\n" },
  { text: "HostName 2001:DB8::0:1\nAddressFamily inet6\nBindAddress ::1\nBindInterface lo\n" },
  { text: "Match host web\nUser a\nMatch host we?,!web\nPort 2\nMatch !host db\nCompression yes\n" },
  { text: "Match originalhost web host other\nUser no\nMatch originalhost WEB user root\nPort 3\nMatch all\nPort 4\n" },
  { text: "User carol\nMatch user carol,dave\nPort 5\nMatch !user carol\nPort 6\nMatch user !carol,*\nPort 7\n" },
  { text: 'Match exec "test %h = web"\nUser ran\nMatch !exec true\nPort 8\nMatch exec "exit 3"\nPort 9\n' },
  { text: "Match final\nUser final\nMatch final all\nPort 44\nMatch !final\nCompression yes\n" },
  { text: "CanonicalizeHostname yes\nMatch canonical\nUser canonical\nMatch !canonical all\nPort 45\n" },
  { text: "CanonicalizeHostname no\nCanonicalDomains a.example b.example\nCanonicalizeMaxDots 3\n" },
  {
    text: "CanonicalizeHostname always\nCanonicalizeFallbackLocal yes\nCanonicalizePermittedCNAMEs *.a:*.b,*.c *.d:e\n",
    alias: "10.0.0.1",
  },
  { text: "Include DIR/inc/?.conf\nHost *\nUser late\nPort 7\n" },
  { text: "Host db\nInclude DIR/inc/a.conf\nHost *\nPort 8\n" },
  { text: "Include DIR/inc/deep/1.conf\nUser after\n", alias: "other" },
  { text: "Include DIR/inc/nothing-* DIR/inc/[ab].conf DIR/none.conf\n", alias: "db" },
  { text: "Include DIR/inc/for-%h.conf\nUser x\n", since: 10 },
  { text: "IdentityFile ~/.ssh/one\nIdentityFile ~/.ssh/two\nIdentityFile ~/.ssh/one\nIdentitiesOnly yes\n" },
  { text: "CertificateFile ~/.ssh/a-cert.pub\nCertificateFile ~/.ssh/b-cert.pub\nIdentityFile none\n", since: 10 },
  { text: "IdentityAgent ~/agent-%u-%h\nAddKeysToAgent confirm 5m\nForwardAgent ~/sock\n" },
  { text: "IdentityAgent none\nAddKeysToAgent 1h30m\nForwardAgent yes\n" },
  { text: "IdentityAgent $SOME_SOCK\nForwardAgent no\nAddKeysToAgent ask\n" },
  {
    text:
      "Ciphers aes256-ctr,aes128-gcm@openssh.com\nMACs hmac-sha2-512\nKexAlgorithms curve25519-sha256,ecdh-sha2-nistp256\n",
  },
  { text: "Ciphers -*cbc,chacha*\nMACs -umac-*\nKexAlgorithms -diffie-hellman-*\nHostKeyAlgorithms -*cert*\n" },
  { text: "Ciphers +aes128-cbc,3des-cbc\nMACs +hmac-md5\nKexAlgorithms +diffie-hellman-group14-sha1\n" },
  {
    text:
      "Ciphers ^aes256-ctr\nMACs ^hmac-sha2-512\nKexAlgorithms ^ecdh-sha2-nistp521\nHostKeyAlgorithms ^rsa-sha2-512\n",
  },
  { text: "HostKeyAlgorithms ecdsa-*,ssh-ed25519\nPubkeyAcceptedAlgorithms +ssh-r*\nCASignatureAlgorithms -ecdsa*\n" },
  { text: "PubkeyAcceptedKeyTypes ssh-ed25519\nHostbasedKeyTypes +ssh-rsa\nHostbasedAuthentication yes\n" },
  { text: "ProxyJump bastion\nProxyCommand nc %h %p\n" },
  { text: "ProxyJump alice@a:2201,b,ssh://carol@c.example:2203\n" },
  { text: "ProxyJump [2001:db8::1]:99\nPort 23\n" },
  { text: "ProxyJump none\nProxyCommand nc %h %p\n", since: 10 },
  { text: "ProxyCommand nc -X 5 -x proxy:1080 %h %p # kept\nProxyJump b\nProxyUseFdpass no\n" },
  { text: "ProxyCommand none\nControlPath none\nRevokedHostKeys none\nLocalCommand none\n" },
  {
    text:
      "LocalForward 8080 web:80\nLocalForward [::1]:8081 [::1]:81\nLocalForward *:8082 web:82\nDynamicForward 1080\n",
  },
  {
    text:
      "LocalForward 127.0.0.1:8080 localhost:80\nLocalForward 127.0.0.1:8080 localhost:80\nDynamicForward [::1]:1080\n",
  },
  { text: "LocalForward ~/x-%h/s web:80\nLocalForward 9000 /run/%r.sock\nRemoteForward /run/%n /tmp/%u\n" },
  {
    text: "RemoteForward 9000 localhost:22\nRemoteForward 0 localhost:23\nRemoteForward 1080\nRemoteForward *:9 a:9\n",
  },
  {
    text:
      "ClearAllForwardings yes\nLocalForward 80 a:80\nRemoteForward 80 a:80\nExitOnForwardFailure yes\nGatewayPorts yes\n",
  },
  { text: "SendEnv A B_* C\nSendEnv -B*\nSendEnv D\nSetEnv X=1 Y=two X=3\nSetEnv Z=4\n" },
  { text: 'SetEnv HOST=%h PERCENT=%% "QUOTED=a b"\nUser u-%n\n', since: 10 },
  { text: "UserKnownHostsFile ~/kh1 ~/kh-%h /kh%%3\nGlobalKnownHostsFile /g1 /g2\nHashKnownHosts yes\n" },
  { text: "UserKnownHostsFile none\nGlobalKnownHostsFile none\nStrictHostKeyChecking off\nCheckHostIP yes\n" },
  {
    text: "StrictHostKeyChecking accept-new\nUpdateHostKeys ask\nVerifyHostKeyDNS ask\nRevokedHostKeys ~/revoked-%k\n",
    since: 10,
  },
  {
    text: "StrictHostKeyChecking yes\nUpdateHostKeys no\nVerifyHostKeyDNS yes\nNoHostAuthenticationForLocalhost yes\n",
  },
  {
    text: "ServerAliveInterval 1m\nServerAliveCountMax 5\nTCPKeepAlive no\nConnectTimeout 1h30\nConnectionAttempts 3\n",
  },
  { text: "ProtocolKeepAlives 10\nKeepAlive no\nForwardX11Timeout 1w2d\nConnectTimeout none\n" },
  { text: "RekeyLimit 1.5G 90m\nRequiredRSASize 2048\nFingerprintHash md5\nVisualHostKey yes\n" },
  {
    text:
      "RekeyLimit default none\nCompression no\nLogLevel debug3\nSyslogFacility local3\nLogVerbose kex.c:*:100,packet.c:*\n",
  },
  { text: "ControlMaster auto\nControlPath ~/.ssh/%r@%h:%p-%L-%i\nControlPersist 10m\n" },
  { text: "ControlMaster autoask\nControlPath /tmp/%C-%d-%l\nControlPersist yes\nUser eve\nPort 7\n" },
  { text: 'RequestTTY force\nRemoteCommand ls -l %h "%r" # not a comment\nEscapeChar ^b\nStdinNull yes\n' },
  { text: "SessionType none\nRequestTTY no\nEscapeChar none\nEnableEscapeCommandline yes\nBatchMode yes\n" },
  { text: "PreferredAuthentications publickey,password\nPasswordAuthentication no\nNumberOfPasswordPrompts 1\n" },
  { text: "PubkeyAuthentication host-bound\nKbdInteractiveAuthentication no\nKbdInteractiveDevices pam,skey\n" },
  {
    text:
      "ChallengeResponseAuthentication no\nDSAAuthentication unbound\nGSSAPIAuthentication yes\nGSSAPITrustDNS yes\n",
  },
  { text: "ForwardX11 yes\nForwardX11Trusted no\nXAuthLocation /opt/xauth\nTunnel yes\nTunnelDevice 1:any\n" },
  { text: "IPQoS af21 cs1\nStreamLocalBindMask 0077\nStreamLocalBindUnlink yes\nPermitRemoteOpen a:22 *:80\n" },
  {
    text:
      "KnownHostsCommand /bin/known %H %K\nPKCS11Provider /lib/p.so\nSecurityKeyProvider none\nEnableSSHKeysign yes\n",
  },
  { text: 'IgnoreUnknown Future*,Other\nFutureOption "any thing" 1 2\nOther x\nUser known\n' },
  { text: "Protocol 2\nCipher blowfish\nUsePrivilegedPort yes\nRhostsAuthentication no\nPort http\n" },
  { text: 'Tag work\nMatch tagged work,home\nUser tagged\nMatch tagged ""\nPort 3\n', since: 10 },
  { text: 'Match tagged "" command "" sessiontype shell\nUser none\nMatch version OpenSSH_10.*\nPort 6\n', since: 10 },
  { text: "Match localnetwork 127.0.0.0/8\nUser here\nMatch !localnetwork 192.0.2.0/24\nPort 7\n", since: 10 },
  { text: "ChannelTimeout session=5m *=1h\nObscureKeystrokeTiming interval:80\nVersionAddendum hello %h\n", since: 10 },
  { text: "  \tUser\tindented  \r\nPort 33\r\n" },
];

/** Configurations that both refuse. */
export const refused: readonly string[] = [
  ...["User", 'User "open', "Port 0", "Port 70000", "Port 1 2", "Bogus x", 'Host ""', "Match", "Match host"],
  ...["Match bogus x", "Match all host web", "Ciphers aes999", "Ciphers +aes128-*", "KexAlgorithms curve*"],
  ...["HostName %n", "ControlPath %x", "ControlPath a%", "ControlPath ${NO_SUCH_VARIABLE}", "SetEnv A", "SendEnv A=b"],
  ...["ProxyJump ::1", "ProxyJump a,", "ProxyJump @a", "LocalForward 80", "LocalForward 80 a", "LocalForward 0 a:80"],
  ...["DynamicForward a:b:c", "RekeyLimit 8", "ConnectTimeout x", "Compression maybe", "StreamLocalBindMask 8"],
  ...["UserKnownHostsFile none x", "CanonicalDomains -x", "Match canonical user", "IPQoS fast", "EscapeChar ab"],
  ...["LogLevel LOUD", "HostKeyAlgorithms *,!ssh-rsa", "AddKeysToAgent maybe", "Tunnel maybe", "ProxyJump web"],
];
