/* Says that it was started: for images in which nothing should be. */
#include <stdio.h>

int main(void) {
    puts("started");
    return 0;
}
