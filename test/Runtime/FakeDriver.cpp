//===- FakeDriver.cpp - a CUDA driver that records instead of running ----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "FakeDriver.h"

#include "../../lib/Runtime/Driver.h"
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <thread>

using namespace sparseattn::runtime;
using Json = nlohmann::json;

namespace {

// CUresult, beyond what the runtime itself needs.
constexpr CUresult INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_PTX = 218, INVALID_HANDLE = 400,
                   NOT_FOUND = 500, CONTEXT_IS_DESTROYED = 709;

struct Context {
  unsigned long long id;
  int device;
  bool alive = true;
};
struct Kernel;
struct Module {
  std::string text;
  bool isCubin;
  Context *context;
  std::map<std::string, std::unique_ptr<Kernel>> kernels;
};
struct Kernel {
  Module *module;
  std::string symbol;
  std::vector<std::pair<size_t, size_t>> parameters;
  int sharedMemory = 48 * 1024;
};
struct Failure {
  int error, skip, times;
};

struct State {
  std::recursive_mutex mutex;
  std::map<std::string, int> settings;
  std::map<std::string, Failure> failures;
  std::map<std::string, int> calls;
  // Contexts are never freed, so that a stale handle can be told from memory of another kind.
  std::vector<std::unique_ptr<Context>> contexts;
  std::map<int, Context *> primaries;
  std::map<int, int> retained;
  std::map<Module *, std::unique_ptr<Module>> modules;
  std::set<CUevent> events;
  std::map<uintptr_t, int> memory;
  Json log;

  State() { reset(); }
  void reset();
};

State &state() {
  static State instance;
  return instance;
}

thread_local std::vector<Context *> current;
thread_local int inside = 0;

struct Inside {
  Inside() { ++inside; }
  ~Inside() { --inside; }
};

void State::reset() {
  settings = {{"devices", 1},
              {"major", 9},
              {"minor", 0},
              {"multiprocessors", 132},
              {"shared_memory", 232448},
              {"capturing", 0},
              {"load_milliseconds", 0}};
  failures.clear();
  calls.clear();
  memory.clear();
  log = {{"launches", Json::array()}, {"maps", Json::array()}, {"events", Json::array()}};
  static bool isFirst = true;
  const char *text = getenv("SPARSEATTN_FAKE_DRIVER");
  if (!isFirst || !text)
    return;
  isFirst = false;
  std::string all = text;
  std::regex entry("([A-Za-z_.]+)=([0-9]+)");
  for (std::sregex_iterator found(all.begin(), all.end(), entry), end; found != end; ++found) {
    int value = std::stoi((*found)[2]);
    if (settings.count((*found)[1]))
      settings[(*found)[1]] = value;
    else
      failures[(*found)[1]] = {value, 0, 0};
  }
}

/// Counts a call and returns the failure that the test ordered, else success.
CUresult enter(const char *call) {
  State &s = state();
  std::lock_guard<std::recursive_mutex> lock(s.mutex);
  ++s.calls[call];
  auto failure = s.failures.find(call);
  if (failure == s.failures.end())
    return CUDA_SUCCESS;
  if (failure->second.skip > 0) {
    --failure->second.skip;
    return CUDA_SUCCESS;
  }
  int error = failure->second.error;
  if (failure->second.times > 0 && --failure->second.times == 0)
    s.failures.erase(failure);
  return error;
}

#define ENTER(name)                                                                                                    \
  Inside here;                                                                                                         \
  if (CUresult result = enter(name))                                                                                   \
    return result;                                                                                                     \
  State &s = state();                                                                                                  \
  std::lock_guard<std::recursive_mutex> lock(s.mutex);

Context *find(CUcontext handle) {
  for (auto &context : state().contexts)
    if (reinterpret_cast<CUcontext>(context.get()) == handle)
      return context.get();
  return nullptr;
}

Context *addContext(int device) {
  State &s = state();
  s.contexts.push_back(std::make_unique<Context>(Context{1000 + s.contexts.size(), device}));
  return s.contexts.back().get();
}

/// Parameters of `.entry SYMBOL(...)`, laid out as PTX lays them out.
bool readParameters(const std::string &text, const std::string &symbol, Kernel &kernel) {
  std::smatch entry;
  if (!std::regex_search(text, entry, std::regex("\\.entry\\s+" + symbol + "\\s*\\(([^)]*)\\)")))
    return false;
  std::string list = entry[1];
  // A pointer's type may be followed by what it points to: ".ptr .global .align 1".
  std::regex parameter("\\.param\\s+(?:\\.align\\s+(\\d+)\\s+)?\\.[a-z](\\d+)(?:\\s+\\.ptr[\\s.\\w]*?)?\\s+"
                       "\\w+(?:\\[(\\d+)\\])?\\s*(?=,|$)");
  size_t end = 0;
  for (std::sregex_iterator found(list.begin(), list.end(), parameter), last; found != last; ++found) {
    size_t bytes = std::stoul((*found)[2]) / 8;
    size_t alignment = (*found)[1].matched ? std::stoul((*found)[1]) : bytes;
    if ((*found)[3].matched)
      bytes *= std::stoul((*found)[3]);
    size_t offset = (end + alignment - 1) / alignment * alignment;
    kernel.parameters.emplace_back(offset, bytes);
    end = offset + bytes;
  }
  return true;
}

std::string toHex(const void *data, size_t bytes) {
  std::string text;
  for (size_t index = 0; index < bytes; ++index) {
    char digits[3];
    snprintf(digits, sizeof(digits), "%02x", static_cast<const unsigned char *>(data)[index]);
    text += digits;
  }
  return text;
}

} // namespace

extern "C" {

void fakeDriverReset(void) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  state().reset();
}

void fakeDriverSet(const char *setting, int value) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  if (!state().settings.count(setting))
    abort();
  state().settings[setting] = value;
}

void fakeDriverFail(const char *call, int error, int skip, int times) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  state().failures[call] = {error, skip, times};
}

int fakeDriverCalls(const char *call) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  return state().calls[call];
}

int fakeDriverModules(void) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  return static_cast<int>(state().modules.size());
}

int fakeDriverRetained(void) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  int sum = 0;
  for (auto &[device, count] : state().retained)
    sum += count;
  return sum;
}

int fakeDriverIsInside(void) { return inside > 0; }

void fakeDriverAddMemory(const void *address, int device) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  state().memory[reinterpret_cast<uintptr_t>(address)] = device;
}

const char *fakeDriverLog(void) {
  static thread_local std::string text;
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  text = state().log.dump();
  return text.c_str();
}

CUresult cuInit(unsigned) { return enter("cuInit"); }

CUresult cuDriverGetVersion(int *version) {
  *version = 12090;
  return enter("cuDriverGetVersion");
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ENTER("cuDeviceGet");
  if (ordinal < 0 || ordinal >= s.settings["devices"])
    return INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice) {
  ENTER("cuDeviceGetName");
  snprintf(name, length, "Fake GPU");
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice) {
  ENTER("cuDeviceGetAttribute");
  std::map<int, const char *> names = {{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, "major"},
                                       {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, "minor"},
                                       {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, "multiprocessors"},
                                       {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, "shared_memory"}};
  if (!names.count(attribute))
    return CUDA_ERROR_INVALID_VALUE;
  *value = s.settings[names[attribute]];
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  ENTER("cuDevicePrimaryCtxRetain");
  Context *&primary = s.primaries[device];
  if (!primary || !primary->alive)
    primary = addContext(device);
  ++s.retained[device];
  *context = reinterpret_cast<CUcontext>(primary);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  ENTER("cuDevicePrimaryCtxRelease");
  if (s.retained[device] == 0)
    return INVALID_CONTEXT;
  --s.retained[device];
  return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned, CUdevice device) {
  ENTER("cuCtxCreate");
  current.push_back(addContext(device));
  *context = reinterpret_cast<CUcontext>(current.back());
  return CUDA_SUCCESS;
}

CUresult cuCtxDestroy_v2(CUcontext context) {
  ENTER("cuCtxDestroy");
  Context *found = find(context);
  found->alive = false;
  for (auto entry = s.modules.begin(); entry != s.modules.end();)
    entry = entry->second->context == found ? s.modules.erase(entry) : std::next(entry);
  current.erase(std::remove(current.begin(), current.end(), found), current.end());
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  ENTER("cuCtxGetCurrent");
  *context = current.empty() ? nullptr : reinterpret_cast<CUcontext>(current.back());
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
  ENTER("cuCtxGetDevice");
  if (current.empty())
    return INVALID_CONTEXT;
  *device = current.back()->device;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetId(CUcontext context, unsigned long long *id) {
  ENTER("cuCtxGetId");
  Context *found = find(context);
  if (!found || !found->alive)
    return CONTEXT_IS_DESTROYED;
  *id = found->id;
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  ENTER("cuCtxPushCurrent");
  Context *found = find(context);
  if (!found || !found->alive)
    return CONTEXT_IS_DESTROYED;
  current.push_back(found);
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  ENTER("cuCtxPopCurrent");
  if (current.empty())
    return INVALID_CONTEXT;
  *context = reinterpret_cast<CUcontext>(current.back());
  current.pop_back();
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options, void **values) {
  bool isCubin = memcmp(image, "\x7f" "ELF", 4) == 0;
  if (CUresult result = enter(isCubin ? "cuModuleLoadDataEx.cubin" : "cuModuleLoadDataEx.ptx"))
    return result;
  int wait;
  {
    ENTER("cuModuleLoadDataEx");
    wait = s.settings["load_milliseconds"];
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(wait));
  State &s = state();
  std::lock_guard<std::recursive_mutex> lock(s.mutex);
  if (current.empty())
    return INVALID_CONTEXT;
  auto made = std::make_unique<Module>();
  made->text = static_cast<const char *>(image);
  made->isCubin = isCubin;
  made->context = current.back();
  if (made->text.find(".entry") == std::string::npos) {
    char *log = nullptr;
    size_t size = 0;
    for (unsigned index = 0; index < count; ++index) {
      if (options[index] == CU_JIT_ERROR_LOG_BUFFER)
        log = static_cast<char *>(values[index]);
      if (options[index] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
        size = reinterpret_cast<size_t>(values[index]);
    }
    if (log)
      snprintf(log, size, "ptxas fatal : no entry point");
    return isCubin ? CUDA_ERROR_INVALID_IMAGE : INVALID_PTX;
  }
  *module = reinterpret_cast<CUmodule>(made.get());
  s.modules[made.get()] = std::move(made);
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
  ENTER("cuModuleUnload");
  auto found = s.modules.find(reinterpret_cast<Module *>(module));
  if (found == s.modules.end() || current.empty() || found->second->context != current.back())
    return INVALID_HANDLE;
  s.modules.erase(found);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  ENTER("cuModuleGetFunction");
  Module *owner = reinterpret_cast<Module *>(module);
  auto kernel = std::make_unique<Kernel>();
  kernel->module = owner;
  kernel->symbol = name;
  if (!readParameters(owner->text, name, *kernel))
    return NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(kernel.get());
  owner->kernels[name] = std::move(kernel);
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
  ENTER("cuFuncSetAttribute");
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value > s.settings["shared_memory"])
    return CUDA_ERROR_INVALID_VALUE;
  reinterpret_cast<Kernel *>(function)->sharedMemory = value;
  return CUDA_SUCCESS;
}

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
  ENTER("cuFuncGetParamInfo");
  Kernel *kernel = reinterpret_cast<Kernel *>(function);
  if (index >= kernel->parameters.size())
    return CUDA_ERROR_INVALID_VALUE;
  std::tie(*offset, *size) = kernel->parameters[index];
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                        unsigned blockY, unsigned blockZ, unsigned sharedMemory, CUstream stream, void **parameters,
                        void **) {
  ENTER("cuLaunchKernel");
  Kernel *kernel = reinterpret_cast<Kernel *>(function);
  if (current.empty() || kernel->module->context != current.back())
    return INVALID_HANDLE;
  if (!gridX || gridX > 0x7fffffff || blockX * blockY * blockZ > 1024 ||
      sharedMemory > static_cast<unsigned>(kernel->sharedMemory))
    return CUDA_ERROR_INVALID_VALUE;
  Json bytes = Json::array();
  for (size_t index = 0; index < kernel->parameters.size(); ++index)
    bytes.push_back(toHex(parameters[index], kernel->parameters[index].second));
  s.log["launches"].push_back({{"symbol", kernel->symbol},
                               {"image", kernel->module->isCubin ? "cubin" : "ptx"},
                               {"context", current.back()->id},
                               {"grid", {gridX, gridY, gridZ}},
                               {"block", {blockX, blockY, blockZ}},
                               {"shared_memory", sharedMemory},
                               {"stream", reinterpret_cast<uintptr_t>(stream)},
                               {"parameters", bytes}});
  return CUDA_SUCCESS;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, int dataType, uint32_t rank, void *address, const uint64_t *dims,
                                const uint64_t *strides, const uint32_t *box, const uint32_t *elementStrides,
                                int interleave, int swizzle, int l2Promotion, int oobFill) {
  ENTER("cuTensorMapEncodeTiled");
  bool valid = reinterpret_cast<uintptr_t>(map) % 64 == 0 && rank >= 1 && rank <= 5 && address &&
               reinterpret_cast<uintptr_t>(address) % 16 == 0;
  for (uint32_t index = 0; index < rank; ++index) {
    valid &= dims[index] >= 1 && dims[index] <= uint64_t(1) << 32 && box[index] >= 1 && box[index] <= 256;
    valid &= index == 0 || (strides[index - 1] % 16 == 0 && strides[index - 1] < uint64_t(1) << 40);
  }
  if (!valid)
    return CUDA_ERROR_INVALID_VALUE;
  memset(map, 0, sizeof(*map));
  map->opaque[0] = s.log["maps"].size() + 1;
  s.log["maps"].push_back({{"id", map->opaque[0]},
                           {"type", dataType},
                           {"address", reinterpret_cast<uintptr_t>(address)},
                           {"dims", std::vector<uint64_t>(dims, dims + rank)},
                           {"strides", std::vector<uint64_t>(strides, strides + rank - 1)},
                           {"box", std::vector<uint32_t>(box, box + rank)},
                           {"element_strides", std::vector<uint32_t>(elementStrides, elementStrides + rank)},
                           {"interleave", interleave},
                           {"swizzle", swizzle},
                           {"l2_promotion", l2Promotion},
                           {"fill", oobFill}});
  return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *data, int attribute, CUdeviceptr pointer) {
  ENTER("cuPointerGetAttribute");
  auto found = s.memory.find(pointer);
  if (attribute != CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL || found == s.memory.end())
    return CUDA_ERROR_INVALID_VALUE;
  memcpy(data, &found->second, sizeof(int));
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream, int *status) {
  ENTER("cuStreamIsCapturing");
  *status = s.settings["capturing"];
  return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned) {
  ENTER("cuEventCreate");
  *event = reinterpret_cast<CUevent>(uintptr_t(s.calls["cuEventCreate"]));
  s.events.insert(*event);
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  ENTER("cuEventRecord");
  if (!s.events.count(event))
    return INVALID_HANDLE;
  s.log["events"].push_back("record " + std::to_string(reinterpret_cast<uintptr_t>(stream)));
  return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  ENTER("cuStreamWaitEvent");
  if (!s.events.count(event))
    return INVALID_HANDLE;
  s.log["events"].push_back("wait " + std::to_string(reinterpret_cast<uintptr_t>(stream)));
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
  ENTER("cuEventDestroy");
  return s.events.erase(event) ? CUDA_SUCCESS : INVALID_HANDLE;
}

} // extern "C"
