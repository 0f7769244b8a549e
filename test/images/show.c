/* The only program of a tiny image, linked statically: says which image it is in. */
#include <stdio.h>

int main(void) {
    char text[128] = "no image\n";
    FILE* file = fopen("/image", "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL) perror("/image");
    fputs(text, stdout);
    return 0;
}
