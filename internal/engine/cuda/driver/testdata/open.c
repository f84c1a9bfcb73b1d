#include <stdint.h>

typedef struct { unsigned char reserved[64]; } handle;

// Of cuIpcOpenMemHandle's type: a hash of the handle by the pointer, the flags as the result.
int open_shared(uint64_t *p, handle h, unsigned flags) {
  *p = 0;
  for (int i = 0; i < 64; i++) *p = 31 * *p + h.reserved[i];
  return (int)flags;
}
