/* Clocks that a test steps while a process runs; clocks.rs compiles this and preloads it.
 *
 * It redirects the kernel's own clock_gettime, that of the vDSO, which a program reaches with and
 * without the C library (so libfaketime, which stands in for the library's functions, is not enough
 * here). STEPPED_CLOCK names a file of two little-endian 64-bit integers (the native order on x86-64):
 * the nanoseconds to add to the time of day, and to the time since boot. The file is mapped: writing
 * to it steps the clocks. The monotonic clock, by which the kernel and the libraries wait, stays as it
 * is. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the jump is one of x86-64"
#endif

#define SECOND INT64_C(1000000000)

static const volatile int64_t *steps;

static int stepped_gettime(clockid_t id, struct timespec *time) {
    if (syscall(SYS_clock_gettime, id, time) != 0) return -1;
    int64_t step = 0;
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) step = steps[0];
    if (id == CLOCK_BOOTTIME) step = steps[1];
    int64_t at = time->tv_sec * SECOND + time->tv_nsec + step;
    time->tv_sec = at / SECOND;
    time->tv_nsec = at % SECOND;
    return 0;
}

/* The address of a function of the vDSO. */
static char *find(const char *name) {
    char *base = (char *)getauxval(AT_SYSINFO_EHDR);
    if (base == NULL) _exit(121);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
    const Elf64_Phdr *program = (const Elf64_Phdr *)(base + header->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    for (int i = 0; i < header->e_phnum; i++)
        if (program[i].p_type == PT_DYNAMIC)
            dynamic = (const Elf64_Dyn *)(base + program[i].p_offset);
    const Elf64_Sym *symbols = NULL;
    const char *names = NULL;
    for (; dynamic != NULL && dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB) symbols = (const Elf64_Sym *)(base + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB) names = base + dynamic->d_un.d_ptr;
    }
    /* The names follow the symbols. */
    for (; symbols != NULL && (const char *)symbols < names; symbols++)
        if (symbols->st_value != 0 && strcmp(names + symbols->st_name, name) == 0)
            return base + symbols->st_value;
    _exit(122);
}

__attribute__((constructor)) static void redirect(void) {
    const char *path = getenv("STEPPED_CLOCK");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) _exit(123);
    steps = mmap(NULL, 2 * sizeof *steps, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    /* mov rax, address; jmp rax */
    unsigned char jump[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
    int (*target)(clockid_t, struct timespec *) = stepped_gettime;
    memcpy(jump + 2, &target, sizeof target);
    char *code = find("__vdso_clock_gettime");
    char *page = (char *)((uintptr_t)code & ~(uintptr_t)4095);
    if (steps == MAP_FAILED || mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        _exit(124);
    memcpy(code, jump, sizeof jump);
    mprotect(page, 8192, PROT_READ | PROT_EXEC);
}
