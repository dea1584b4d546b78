/* LD_PRELOAD: makes a chosen call on chosen files fail, for tests of what a run does then.
 *
 *   RONDO_SHIM=CALL:N:HOW     the N-th (from 1) CALL of this process on a matching file; N+ : and all
 *                             after it
 *   RONDO_SHIM_PATH=TEXT      files whose path holds TEXT (default: all)
 *   RONDO_SHIM_RANK=R         of this rank alone (OMPI_COMM_WORLD_RANK; default: all)
 *   RONDO_SHIM_LOG=FILE       a line for each call that was changed
 *
 * CALL: pwrite, fsync, rename, close. HOW: a number (errno), or of pwrite `short`: half of the bytes
 * are written, which is no error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int g_ready, g_number, g_and_after, g_error, g_short;
static char g_call[16], g_path[256], g_log[256];
static int g_count; /* calls that matched; only one thread writes at a time in what is tested */

static void read_settings(void) {
  if (g_ready) return;
  g_ready = 1;
  const char* text = getenv("RONDO_SHIM");
  const char* rank = getenv("RONDO_SHIM_RANK");
  const char* own = getenv("OMPI_COMM_WORLD_RANK");
  if (text == NULL) return;
  if (rank != NULL && own != NULL && strcmp(rank, own) != 0) return;
  char number[16] = "", how[16] = "";
  if (sscanf(text, "%15[^:]:%15[^:]:%15s", g_call, number, how) != 3) {
    fprintf(stderr, "RONDO_SHIM=%s cannot be read\n", text);
    _exit(9);
  }
  g_number = atoi(number);
  g_and_after = number[strlen(number) - 1] == '+';
  g_short = strcmp(how, "short") == 0;
  g_error = atoi(how);
  const char* path = getenv("RONDO_SHIM_PATH");
  const char* log = getenv("RONDO_SHIM_LOG");
  snprintf(g_path, sizeof(g_path), "%s", path != NULL ? path : "");
  snprintf(g_log, sizeof(g_log), "%s", log != NULL ? log : "");
}

/* Whether this call on this path is to be changed. */
static int is_chosen(const char* call, const char* path) {
  read_settings();
  if (strcmp(call, g_call) != 0 || strstr(path, g_path) == NULL) return 0;
  const int number = __atomic_add_fetch(&g_count, 1, __ATOMIC_SEQ_CST);
  if (number != g_number && !(g_and_after && number > g_number)) return 0;
  if (g_log[0] != 0) {
    FILE* log = fopen(g_log, "a");
    if (log != NULL) {
      fprintf(log, "%s %d %s\n", call, number, path);
      fclose(log);
    }
  }
  return 1;
}

static int descriptor_is_chosen(const char* call, int descriptor) {
  char link[64], path[4096];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof(path) - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_chosen(call, path);
}

ssize_t pwrite64(int descriptor, const void* data, size_t count, off64_t offset) {
  static ssize_t (*real)(int, const void*, size_t, off64_t);
  if (real == NULL) real = (ssize_t(*)(int, const void*, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  if (descriptor_is_chosen("pwrite", descriptor)) {
    if (!g_short) {
      errno = g_error;
      return -1;
    }
    if (count > 1) count /= 2;
  }
  return real(descriptor, data, count, offset);
}

ssize_t pwrite(int descriptor, const void* data, size_t count, off_t offset) {
  return pwrite64(descriptor, data, count, offset);
}

int fsync(int descriptor) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (descriptor_is_chosen("fsync", descriptor)) {
    errno = g_error;
    return -1;
  }
  return real(descriptor);
}

int rename(const char* from, const char* to) {
  static int (*real)(const char*, const char*);
  if (real == NULL) real = (int (*)(const char*, const char*))dlsym(RTLD_NEXT, "rename");
  if (is_chosen("rename", to)) {
    errno = g_error;
    return -1;
  }
  return real(from, to);
}

int close(int descriptor) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "close");
  const int chosen = descriptor_is_chosen("close", descriptor);
  const int result = real(descriptor);
  if (!chosen) return result;
  errno = g_error;
  return -1;
}
