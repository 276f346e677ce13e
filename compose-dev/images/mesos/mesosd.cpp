// mesos-master (-DMASTER) and mesos-agent (-DAGENT), run out of the shared object in Apache's mesos.scheduler egg.
//
// The egg holds no main() of a master or an agent, but it exports mesos::internal::local::launch(), which mesos-local uses to start a master and any
// number of agents in one process. Started with no agents it is a master; started with one agent and a master detector it is an agent.
// local::launch() creates *standalone* contenders and detectors. For ZooKeeper this program defines their vtables itself: the dynamic
// loader prefers the executable's data symbols, so each virtual call lands here and is passed on to the ZooKeeper class.
//
// The headers of Mesos are not needed: the few types that cross the border are declared below with the size and layout of the compiled ones.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// stout's Option<T>: a state (0 is some, 1 is none), then the value.
template <typename T> struct Option { int state; alignas(8) unsigned char value[64]; };
static Option<std::string> none() { Option<std::string> option; option.state = 1; return option; }
static Option<std::string> some(const std::string& text) {
  Option<std::string> option;
  option.state = 0;
  new (option.value) std::string(text);
  return option;
}

// process::Future<...> and stout's Try<T*>. Non-trivial, so that they are returned through memory as the originals are.
struct Future { void* data; void* control; Future(); Future(const Future&); ~Future(); };
struct TryPointer { int state; void* value; char rest[128]; TryPointer(); TryPointer(const TryPointer&); ~TryPointer() {} };

struct Duration { int64_t nanoseconds; };
namespace process {
struct UPID { alignas(16) char raw[512]; UPID(const std::string&); };
bool wait(const UPID&, const Duration&);
bool initialize(const Option<std::string>& delegate, const Option<std::string>&, const Option<std::string>&);
}
namespace mesos {
class MasterInfo;
namespace allocator { class Allocator; }
namespace internal { namespace local {
struct Flags;
struct Pid { process::UPID pid; Pid(); Pid(const Pid&); ~Pid() {} };
Pid launch(const Flags&, allocator::Allocator*);
} }
namespace master {
namespace detector {
struct MasterDetector { static TryPointer create(const Option<std::string>&, const Option<std::string>&, const Option<Duration>&); };
struct ZooKeeperMasterDetector { Future detect(const Option<MasterInfo>&); };
}
namespace contender {
struct MasterContender { static TryPointer create(const Option<std::string>&, const Option<std::string>&, const Option<Duration>&); };
struct ZooKeeperMasterContender { void initialize(const MasterInfo&); Future contend(); };
}
}
}
namespace detector = mesos::master::detector;
namespace contender = mesos::master::contender;

static std::string zookeeper_url;

static std::string environment(const char* name, const char* fallback) {
  const char* value = getenv(name);
  return value ? value : fallback;
}

// Create the contender or detector for zookeeper_url with Mesos' own factory.
template <class Real, class Factory> static Real* make() {
  Option<Duration> session_timeout;
  session_timeout.state = 0;
  new (session_timeout.value) Duration{atoll(environment("MESOS_ZK_SESSION_TIMEOUT", "10secs").c_str()) * 1000000000};
  TryPointer made = Factory::create(some(zookeeper_url), none(), session_timeout);
  if (made.state != 0) {
    fprintf(stderr, "not a master's address: '%s'; set MESOS_ZK or MESOS_MASTER to zk://host:port/path\n", zookeeper_url.c_str());
    exit(1);
  }
  return static_cast<Real*>(made.value);
}

// The vtables: two entries of ABI header, two destructors, then the virtual functions in the order of their declaration.
static void nothing(void*) {}
static Future detect(void*, const Option<mesos::MasterInfo>& previous) {
  static auto* real = make<detector::ZooKeeperMasterDetector, detector::MasterDetector>();
  return real->detect(previous);
}
extern "C" __attribute__((visibility("default"))) const void* const _ZTVN5mesos6master8detector24StandaloneMasterDetectorE[] = {
  nullptr, nullptr, (void*)nothing, (void*)nothing, (void*)detect};
#ifdef MASTER
static contender::ZooKeeperMasterContender* real_contender() {
  static auto* real = make<contender::ZooKeeperMasterContender, contender::MasterContender>();
  return real;
}
static void initialize(void*, const mesos::MasterInfo& info) { real_contender()->initialize(info); }
static Future contend(void*) { return real_contender()->contend(); }
extern "C" __attribute__((visibility("default"))) const void* const _ZTVN5mesos6master9contender25StandaloneMasterContenderE[] = {
  nullptr, nullptr, (void*)nothing, (void*)nothing, (void*)initialize, (void*)contend};
#endif

#ifdef AGENT
// The fault domain is the agent's alone: an idle master that names another region than the leading one ends this process. launch() reads the environment
// for the master, makes the folder for its work, and then reads it for the agent. So the variable is there from that folder on.
static std::string domain;
extern "C" __attribute__((visibility("default"))) int mkdir(const char* path, mode_t mode) throw() {
  if (!domain.empty()) setenv("MESOS_DOMAIN", domain.c_str(), 1);
  domain.clear();
  return syscall(SYS_mkdirat, -100 /* AT_FDCWD */, path, mode);
}
#endif

// Data symbols of CPython that the extension module's half of the object refers to; never used here.
extern "C" { void* PyExc_Exception; void* PyExc_TypeError; char _Py_NoneStruct[64]; }
// The constructor of local::Flags.
extern "C" void _ZN5mesos8internal5local5FlagsC1Ev(void*);

int main() {
#ifdef MASTER
  const char *url_variable = "MESOS_ZK", *default_port = "5050", *delegate = "master";
  const int agents = 0;
#else
  const char *url_variable = "MESOS_MASTER", *default_port = "5051", *delegate = "slave(1)";
  const int agents = 1;
  domain = environment("MESOS_DOMAIN", "");
  unsetenv("MESOS_DOMAIN");
#endif
  zookeeper_url = environment(url_variable, "");
  setenv("LIBPROCESS_PORT", environment("MESOS_PORT", default_port).c_str(), 0);
  if (getenv("MESOS_IP")) setenv("LIBPROCESS_IP", getenv("MESOS_IP"), 0);
  if (getenv("MESOS_ADVERTISE_IP")) setenv("LIBPROCESS_ADVERTISE_IP", getenv("MESOS_ADVERTISE_IP"), 0);
  // The delegate is the process that answers HTTP paths without a process' name: /state, /health, /api/v1.
  process::initialize(some(delegate), none(), none());

  // local::Flags, more room than it needs: the vtable pointer, work_dir, num_slaves, then what keeps its default.
  const size_t flags_size = 1 << 16;
  char* flags = static_cast<char*>(aligned_alloc(64, flags_size));
  memset(flags, 0, flags_size);
  _ZN5mesos8internal5local5FlagsC1Ev(flags);
  *reinterpret_cast<std::string*>(flags + 8) = environment("MESOS_WORK_DIR", "/var/lib/mesos");
  *reinterpret_cast<int*>(flags + 40) = agents;
  // local::launch() derives each part's own work_dir from the one above and refuses one from the environment.
  unsetenv("MESOS_WORK_DIR");
  mesos::internal::local::Pid master = mesos::internal::local::launch(*reinterpret_cast<mesos::internal::local::Flags*>(flags), nullptr);
#ifdef AGENT
  // The agent's actor ends when it was told to, by SIGUSR1 or by the master, and this process with it; an init may start it as a new agent.
  // It is awaited under this process' own address, which is in the id of the (idle) master's actor: behind the name and the address family.
  const unsigned char* ip = reinterpret_cast<unsigned char*>(master.pid.raw) + 20;
  char agent[64];
  snprintf(agent, sizeof agent, "%s@%d.%d.%d.%d:%s", delegate, ip[0], ip[1], ip[2], ip[3], getenv("LIBPROCESS_PORT"));
  const Duration for_ever{-1000000000};
  process::wait(process::UPID(agent), for_ever);
  _exit(0);
#else
  (void)master;
#endif
  for (;;) pause();
}
