// mesos-containerizer launch: the helper that the agent runs for each executor, out of the same shared object as mesosd.cpp.
//
// The command's class has no exported constructor, so its object is put together here: vtable, name, and the flags through their own constructor.
// The offsets are those of Mesos 1.11.0, and the digest in fetch_egg.py makes sure that it is that one.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

template <typename T> struct Option { int state; alignas(8) unsigned char value[64]; };
struct TryWarnings { char raw[512]; TryWarnings(); TryWarnings(const TryWarnings&); ~TryWarnings() {} };
namespace flags {
struct FlagsBase {
  TryWarnings load(const Option<std::string>& prefix, int, const char* const*, bool unknowns, bool duplicates);
};
}
namespace mesos { namespace internal { namespace slave { struct MesosContainerizerLaunch { int execute(); }; } } }

extern "C" {
// Data symbols of CPython that the extension module's half of the object refers to; never used here.
void* PyExc_Exception; void* PyExc_TypeError; char _Py_NoneStruct[64];
extern char _ZTVN5mesos8internal5slave24MesosContainerizerLaunchE[];
void _ZN5mesos8internal5slave24MesosContainerizerLaunch5FlagsC1Ev(void*);
}

int main(int argc, char** argv) {
  if (argc < 2 || strcmp(argv[1], "launch") != 0) {
    fprintf(stderr, "usage: %s launch\n", argv[0]);
    return 1;
  }
  const size_t size = 1 << 14, flags_offset = 0xe0, flags_base_offset = 0x168;
  char* command = static_cast<char*>(aligned_alloc(64, size));
  memset(command, 0, size);
  // Objects point behind the two entries of ABI header of their vtable.
  *reinterpret_cast<void**>(command) = _ZTVN5mesos8internal5slave24MesosContainerizerLaunchE + 16;
  new (command + 8) std::string("launch");
  _ZN5mesos8internal5slave24MesosContainerizerLaunch5FlagsC1Ev(command + flags_offset);
  Option<std::string> prefix;
  prefix.state = 0;
  new (prefix.value) std::string("MESOS_CONTAINERIZER_");
  TryWarnings loaded = reinterpret_cast<flags::FlagsBase*>(command + flags_base_offset)->load(prefix, argc - 1, argv + 1, false, false);
  (void)loaded;
  return reinterpret_cast<mesos::internal::slave::MesosContainerizerLaunch*>(command)->execute();
}
