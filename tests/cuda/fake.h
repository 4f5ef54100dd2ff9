/* A CUDA runtime without a GPU: memory is that of the host, kernels do nothing, all else succeeds.

   FAKE_CUDA_MEMORY   bytes that can be allocated (default: 64 GiB)
   FAKE_CUDA_LAUNCHES launches that succeed before all others fail (default: all)               */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, LAUNCH_FAILURE = 719 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t used, launched;
static int last_error;

static size_t number(const char *name, size_t otherwise) {
  const char *text = getenv(name);
  return text ? strtoull(text, 0, 10) : otherwise;
}

static size_t capacity(void) { return number("FAKE_CUDA_MEMORY", (size_t)64 << 30); }

/* The size is kept in front of the memory; all is zero, so that results are finite. */
enum { FRONT = 256 };

static int take(void **result, size_t size) {
  char *memory = 0;
  pthread_mutex_lock(&lock);
  if (used + size <= capacity() && !posix_memalign((void **)&memory, FRONT, size + FRONT))
    used += size;
  pthread_mutex_unlock(&lock);
  if (!memory) return last_error = OUT_OF_MEMORY;
  memset(memory, 0, size + FRONT);
  *(size_t *)memory = size;
  *result = memory + FRONT;
  return SUCCESS;
}

static int give(void *pointer) {
  char *memory = (char *)pointer - FRONT;
  if (!pointer) return SUCCESS;
  pthread_mutex_lock(&lock);
  used -= *(size_t *)memory;
  pthread_mutex_unlock(&lock);
  free(memory);
  return SUCCESS;
}

static int launch(void) {
  pthread_mutex_lock(&lock);
  int fails = launched++ >= number("FAKE_CUDA_LAUNCHES", (size_t)-1);
  pthread_mutex_unlock(&lock);
  return fails ? (last_error = LAUNCH_FAILURE) : SUCCESS;
}

static int handle(void **result) {
  *result = malloc(8);
  return SUCCESS;
}

/* Fields of `struct cudaDeviceProp` of CUDA 13, by their offsets. */
static int properties(char *p) {
  memset(p, 0, 1008);
  strcpy(p, "Fake GPU");
  *(size_t *)(p + 288) = capacity();    /* totalGlobalMem */
  *(size_t *)(p + 296) = 48 << 10;      /* sharedMemPerBlock */
  *(int *)(p + 304) = 65536;            /* regsPerBlock */
  *(int *)(p + 308) = 32;               /* warpSize */
  *(int *)(p + 320) = 1024;             /* maxThreadsPerBlock */
  for (int i = 0; i < 3; i++) {
    *(int *)(p + 324 + 4 * i) = i < 2 ? 1024 : 64;           /* maxThreadsDim */
    *(int *)(p + 336 + 4 * i) = i < 1 ? 2147483647 : 65535;  /* maxGridSize */
  }
  *(int *)(p + 360) = 9;                /* major */
  *(int *)(p + 384) = 132;              /* multiProcessorCount */
  *(int *)(p + 392) = 1;                /* canMapHostMemory */
  *(int *)(p + 560) = 1;                /* concurrentKernels */
  *(int *)(p + 596) = 50 << 20;         /* l2CacheSize */
  *(int *)(p + 604) = 2048;             /* maxThreadsPerMultiProcessor */
  *(size_t *)(p + 624) = 228 << 10;     /* sharedMemPerMultiprocessor */
  *(int *)(p + 632) = 65536;            /* regsPerMultiprocessor */
  *(size_t *)(p + 672) = 227 << 10;     /* sharedMemPerBlockOptin */
  return SUCCESS;
}

/* Compute capability 9.0; 132 multiprocessors; 227 KiB of shared memory in a block. */
static int attribute(int *value, int which) {
  *value = which == 75 ? 9 : which == 76 ? 0 : which == 16 ? 132 : which == 97 ? 227 << 10 : 1;
  return SUCCESS;
}
