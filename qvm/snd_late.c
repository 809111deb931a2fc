/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What snd_alsa.c uses of libasound, looked up when the first sound device is opened: the library
 * costs each process that is linked to it half a mebibyte and a part of its start, and few VMs have
 * a sound card. Functions with the library's names lead to what was found; none is called before
 * snd_alsa_late() has returned 0. Main thread, while the VM is made.
 */
#include <alsa/asoundlib.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "qvm/snd.h"

#define LIBRARY "libasound.so.2"

/* result, name, parameters, arguments */
#define FUNCTIONS(F)                                                                               \
	F(int, snd_lib_error_set_handler, (snd_lib_error_handler_t f), (f))                        \
	F(const char *, snd_strerror, (int err), (err))                                            \
	F(int, snd_pcm_open, (snd_pcm_t **p, const char *n, snd_pcm_stream_t s, int m),            \
	  (p, n, s, m))                                                                            \
	F(int, snd_pcm_close, (snd_pcm_t *p), (p))                                                 \
	F(int, snd_pcm_prepare, (snd_pcm_t *p), (p))                                               \
	F(int, snd_pcm_start, (snd_pcm_t *p), (p))                                                 \
	F(int, snd_pcm_drop, (snd_pcm_t *p), (p))                                                  \
	F(int, snd_pcm_recover, (snd_pcm_t *p, int err, int quiet), (p, err, quiet))               \
	F(int, snd_pcm_delay, (snd_pcm_t *p, snd_pcm_sframes_t *n), (p, n))                        \
	F(snd_pcm_state_t, snd_pcm_state, (snd_pcm_t *p), (p))                                     \
	F(snd_pcm_sframes_t, snd_pcm_avail, (snd_pcm_t *p), (p))                                   \
	F(snd_pcm_sframes_t, snd_pcm_forward, (snd_pcm_t *p, snd_pcm_uframes_t n), (p, n))         \
	F(snd_pcm_sframes_t, snd_pcm_writei, (snd_pcm_t *p, const void *b, snd_pcm_uframes_t n),   \
	  (p, b, n))                                                                               \
	F(snd_pcm_sframes_t, snd_pcm_readi, (snd_pcm_t *p, void *b, snd_pcm_uframes_t n),          \
	  (p, b, n))                                                                               \
	F(ssize_t, snd_pcm_frames_to_bytes, (snd_pcm_t *p, snd_pcm_sframes_t n), (p, n))           \
	F(size_t, snd_pcm_hw_params_sizeof, (void), ())                                            \
	F(int, snd_pcm_hw_params_any, (snd_pcm_t *p, snd_pcm_hw_params_t *h), (p, h))              \
	F(int, snd_pcm_hw_params, (snd_pcm_t *p, snd_pcm_hw_params_t *h), (p, h))                  \
	F(int, snd_pcm_hw_params_set_access,                                                       \
	  (snd_pcm_t *p, snd_pcm_hw_params_t *h, snd_pcm_access_t v), (p, h, v))                   \
	F(int, snd_pcm_hw_params_set_format,                                                       \
	  (snd_pcm_t *p, snd_pcm_hw_params_t *h, snd_pcm_format_t v), (p, h, v))                   \
	F(int, snd_pcm_hw_params_test_format,                                                      \
	  (snd_pcm_t *p, snd_pcm_hw_params_t *h, snd_pcm_format_t v), (p, h, v))                   \
	F(int, snd_pcm_hw_params_set_channels,                                                     \
	  (snd_pcm_t *p, snd_pcm_hw_params_t *h, unsigned v), (p, h, v))                           \
	F(int, snd_pcm_hw_params_set_rate,                                                         \
	  (snd_pcm_t *p, snd_pcm_hw_params_t *h, unsigned v, int dir), (p, h, v, dir))             \
	F(int, snd_pcm_hw_params_test_rate,                                                        \
	  (snd_pcm_t *p, snd_pcm_hw_params_t *h, unsigned v, int dir), (p, h, v, dir))             \
	F(int, snd_pcm_hw_params_set_period_size_near,                                             \
	  (snd_pcm_t *p, snd_pcm_hw_params_t *h, snd_pcm_uframes_t *v, int *dir), (p, h, v, dir))  \
	F(int, snd_pcm_hw_params_set_buffer_size_near,                                             \
	  (snd_pcm_t *p, snd_pcm_hw_params_t *h, snd_pcm_uframes_t *v), (p, h, v))                 \
	F(int, snd_pcm_hw_params_get_channels_min, (const snd_pcm_hw_params_t *h, unsigned *v),    \
	  (h, v))                                                                                  \
	F(int, snd_pcm_hw_params_get_channels_max, (const snd_pcm_hw_params_t *h, unsigned *v),    \
	  (h, v))                                                                                  \
	F(size_t, snd_pcm_sw_params_sizeof, (void), ())                                            \
	F(int, snd_pcm_sw_params_current, (snd_pcm_t *p, snd_pcm_sw_params_t *s), (p, s))          \
	F(int, snd_pcm_sw_params, (snd_pcm_t *p, snd_pcm_sw_params_t *s), (p, s))                  \
	F(int, snd_pcm_sw_params_get_boundary,                                                     \
	  (const snd_pcm_sw_params_t *s, snd_pcm_uframes_t *v), (s, v))                            \
	F(int, snd_pcm_sw_params_set_start_threshold,                                              \
	  (snd_pcm_t *p, snd_pcm_sw_params_t *s, snd_pcm_uframes_t v), (p, s, v))

#define FORWARD(type, name, params, args)                                                          \
	static type(*at_##name) params;                                                            \
	type name params                                                                           \
	{                                                                                          \
		return at_##name args;                                                             \
	}
FUNCTIONS(FORWARD)

int snd_alsa_late(void)
{
	static const struct {
		const char *name;
		void *at;	/* of the pointer */
	} rows[] = {
#define ROW(type, name, params, args) { #name, &at_##name },
		FUNCTIONS(ROW)
	};
	static bool done;
	void *lib = done ? NULL : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (done)
		return 0;
	if (!lib)
		return -ENOENT;
	for (size_t i = 0; i < Q_ARRAY_LEN(rows); i++) {
		void *f = dlsym(lib, rows[i].name);

		if (!f)
			return -ENOSYS;
		memcpy(rows[i].at, &f, sizeof(f));
	}
	done = true;
	return 0;
}
