/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets on which two qvm meet: SOCK_SEQPACKET, so that a message is one, nonblocking, of our own
 * user or root. No state.
 */
#include "qvm/netpeer_sock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/qfd.h"

#define BACKLOG 4

bool np_sock_trusted(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
	       (who.uid == geteuid() || who.uid == 0);
}

static int address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, strlen(path));
	return 0;
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int np_sock_connect(const char *path)
{
	struct sockaddr_un a;
	int r = address(path, &a);
	QCLEAN(qfd_close) int fd = r < 0 ? r : new_socket();

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	if (!np_sock_trusted(fd))
		return -EPERM;
	int ret = fd;
	fd = -1;
	return ret;
}

int np_sock_listen(const char *path)
{
	struct sockaddr_un a;
	int r = address(path, &a);
	QCLEAN(qfd_close) int fd = r < 0 ? r : new_socket();

	if (fd < 0)
		return fd;
	unlink(path);
	mode_t old = umask(0177);
	r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
	umask(old);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return r;
	int ret = fd;
	fd = -1;
	return ret;
}

bool np_sock_hung_up(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}
