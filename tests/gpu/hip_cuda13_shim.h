// SPDX-License-Identifier: MIT
// Pre-include (-include) for compiling HIP 5.x nvidia_detail headers against CUDA 13.
#pragma once
#include <cuda_runtime_api.h>
#include <cuda.h>
#include <cuda_profiler_api.h>
#if CUDART_VERSION >= 13000
// C++ overloads beside CUDA's extern "C" functions: the old signatures.
inline cudaError_t cudaMemAdvise(const void* p, size_t n, cudaMemoryAdvise a, int dev) {
  cudaMemLocation l{};
  l.type = dev < 0 ? cudaMemLocationTypeHost : cudaMemLocationTypeDevice;
  l.id = dev < 0 ? 0 : dev;
  return ::cudaMemAdvise(p, n, a, l);
}
inline cudaError_t cudaMemPrefetchAsync(const void* p, size_t n, int dev, cudaStream_t s) {
  cudaMemLocation l{};
  l.type = dev < 0 ? cudaMemLocationTypeHost : cudaMemLocationTypeDevice;
  l.id = dev < 0 ? 0 : dev;
  return ::cudaMemPrefetchAsync(p, n, l, 0u, s);
}
struct hip_shim_device_prop : cudaDeviceProp {
  int clockRate = 0, computeMode = 0, memoryClockRate = 0, cooperativeMultiDeviceLaunch = 0, kernelExecTimeoutEnabled = 0;
  int deviceOverlap = 1, maxTexture1DLinear = 0, singleToDoublePrecisionPerfRatio = 0;  // read by the ROCm 6.x header only
};
inline cudaError_t cudaGetDeviceProperties(hip_shim_device_prop* p, int dev) {
  cudaError_t e = ::cudaGetDeviceProperties(static_cast<cudaDeviceProp*>(p), dev);
  if (e == cudaSuccess) {
    (void)::cudaDeviceGetAttribute(&p->clockRate, cudaDevAttrClockRate, dev);
    (void)::cudaDeviceGetAttribute(&p->computeMode, cudaDevAttrComputeMode, dev);
    (void)::cudaDeviceGetAttribute(&p->memoryClockRate, cudaDevAttrMemoryClockRate, dev);
    (void)::cudaDeviceGetAttribute(&p->kernelExecTimeoutEnabled, cudaDevAttrKernelExecTimeout, dev);
  }
  return e;
}
#define cudaDeviceProp hip_shim_device_prop
#define cudaDevAttrCooperativeMultiDeviceLaunch static_cast<cudaDeviceAttr>(96)
inline CUresult cuCtxCreate_v4(CUcontext* c, unsigned f, CUdevice d) { return ::cuCtxCreate_v4(c, nullptr, f, d); }
struct textureReference;
template <class... A> inline cudaError_t cudaBindTexture(A&&...) { return cudaErrorNotSupported; }
template <class... A> inline cudaError_t cudaBindTexture2D(A&&...) { return cudaErrorNotSupported; }
template <class... A> inline cudaError_t cudaGetTextureAlignmentOffset(A&&...) { return cudaErrorNotSupported; }
template <class... A> inline cudaError_t cudaLaunchCooperativeKernelMultiDevice(A&&...) { return cudaErrorNotSupported; }
#endif
