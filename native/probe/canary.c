/* The program in the canary's image: it runs, as a plain user, and that is all it has to show. */
#include <stdio.h>
#include <unistd.h>

int main(void) {
    printf("canary %u\n", (unsigned)getuid());
    return 0;
}
