/* Stands before the C library: the clock of one thread fails once, whenever the file $FAULT_FILE is there.
 * The thread is named by $FAULT_THREAD; with $FAULT_WALL only the time of day fails, and not the time that passes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    char name[16] = "";
    const char *thread = getenv("FAULT_THREAD"), *file = getenv("FAULT_FILE");
    int is_meant = clock == CLOCK_REALTIME || getenv("FAULT_WALL") == NULL;
    prctl(PR_GET_NAME, name);
    if (is_meant && thread != NULL && file != NULL && strcmp(name, thread) == 0 && unlink(file) == 0) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_clock_gettime, clock, time);
}
