/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-flight and replay protocol as a model for spin: a guest, its front end (qvm), a back end
 * (mediator) that may be killed between any two of its stores, and again while it repairs or
 * replays, the kernel, which goes on with the I/O of a process that is dead, and hostd's listening
 * socket, in which connections wait. docs/model.md says what is shown; each step names its function.
 *
 * A guest has at most one write to a sector out: whoever has two has no order between them (virtio
 * knows none; queue_replay() in mediator/queue.c). Writes to different sectors are out together.
 *
 *   lost         what is answered stands on the disk
 *   reordered    nothing is executed after a later write to the same sector was answered
 *   twice        no request is answered twice
 *   completed    every write is answered in the end: where nothing can happen any more, all are
 *
 * WRONG_x makes a mistake on purpose: each must be found (run.py).
 */
#define HEADS	2
#define SECTORS 2
/* How large the model is; run.py has larger ones. */
#ifndef WRITES_0
#define WRITES_0 2	/* to sector 0 */
#endif
#ifndef WRITES_1
#define WRITES_1 1
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef HANGUPS
#define HANGUPS 1	/* connections that break while both sides live */
#endif
#define RING 4		/* entries of the rings, at least HEADS */

/* ---- what outlives a back end ---- */

/* Guest memory: rings, and what a descriptor chain says. */
byte avail[RING], avail_idx, used[RING], used_idx;
byte sector_of[HEADS], version_of[HEADS];
/* The in-flight region (struct wire_queue), which qvm keeps. */
bool formatted, inflight[HEADS];
byte next[HEADS], last_batch_head, region_used_idx;
/* The disk; what the kernel is doing, 0 or the version that it writes; and for whom nobody waits. */
byte disk[SECTORS], job[HEADS], orphan[HEADS], orphan_sector[HEADS];
/* hostd's listening socket: a connection waits in it while there is no mediator. */
chan backlog = [1] of { bit };
bool connected, broken;
/*
 * Kicks need no model: a back end looks at every ring in every round, and when it starts. But the
 * guest sleeps until it is called.
 */
bool call;

/* ---- what a back end knows ---- */

bool killed;
byte kills, hangups;
byte last_avail, used_new;
byte state[HEADS];	/* of what was taken: */
#define NOT_OUT 0
#define TAKEN	1	/* waits in its share's list */
#define GIVEN	2	/* at the device */
#define DONE	3	/* its completion was seen: in the queue's done list */
#define PUSHED	4	/* in the used ring, not yet published */

/* ---- what the guest knows ---- */

bool busy[HEADS];
byte last_used, asked[SECTORS], answered[SECTORS];

/* ---- the guest's driver ---- */

#define ALL (WRITES_0 + WRITES_1)
#define FREE_SECTOR(s, most) (asked[s] == answered[s] && asked[s] < most)

inline ask(s, h)
{
	asked[s]++;
	busy[h] = true;
	sector_of[h] = s;
	version_of[h] = asked[s];
	avail[avail_idx % RING] = h;
	avail_idx++
}

inline answer(h)
{
	assert(busy[h]);				/* twice */
	assert(disk[sector_of[h]] == version_of[h]);	/* lost */
	busy[h] = false;
	answered[sector_of[h]] = version_of[h];
	last_used++
}

active proctype Guest()
{
	do
	:: atomic { FREE_SECTOR(0, WRITES_0) && !busy[0] -> ask(0, 0) }
	:: atomic { FREE_SECTOR(0, WRITES_0) && !busy[1] -> ask(0, 1) }
	:: atomic { FREE_SECTOR(1, WRITES_1) && !busy[0] -> ask(1, 0) }
	:: atomic { FREE_SECTOR(1, WRITES_1) && !busy[1] -> ask(1, 1) }
	:: atomic { call -> call = false };
		do
		:: atomic { last_used != used_idx -> answer(used[last_used % RING]) }
		:: else -> break
		od
	:: last_used == ALL -> break
	od
}

/* ---- the kernel: io_uring's I/O ends whether or not who asked for it lives ---- */

inline execute(sector, version)
{
	assert(answered[sector] < version);		/* reordered */
	disk[sector] = version;
	version = 0
}

active proctype Kernel()
{
	do
	:: atomic { job[0] != 0 -> execute(sector_of[0], job[0]); state[0] = DONE }
	:: atomic { job[1] != 0 -> execute(sector_of[1], job[1]); state[1] = DONE }
	:: atomic { orphan[0] != 0 -> execute(orphan_sector[0], orphan[0]) }
	:: atomic { orphan[1] != 0 -> execute(orphan_sector[1], orphan[1]) }
	od
}

/* ---- qvm: connects again without end (virtio_vhu.c: reconnect()) ---- */

active proctype FrontEnd()
{
	do
	:: backlog!1;
		/* start_done(): what a dead back end published and did not tell. */
		do
		:: atomic { connected && !broken ->
#ifndef WRONG_NO_CALL
			call = true;
#endif
			break }
		:: atomic { broken -> break }
		od;
		if
		:: atomic { broken -> broken = false }
		/* The connection is lost though both live: the back end sees it and ends. */
		:: atomic { connected && !broken && hangups < HANGUPS ->
			hangups++;
			connected = false }
		fi
	od
}

/* ---- the end of a back end, at any moment ---- */

/* Its I/O goes on; its completions are seen by nobody. */
inline abandon(h)
{
	if
	:: job[h] != 0 ->
		orphan[h] = job[h];
		orphan_sector[h] = sector_of[h];
		job[h] = 0
	:: else
	fi;
	state[h] = NOT_OUT
}

active proctype Killer()
{
	do
	:: d_step { !killed && kills < KILLS ->
		kills++;
		killed = true;
		abandon(0);
		abandon(1);
		last_avail = 0;
		used_new = 0;
		/* Its connection, if it had one. */
		broken = broken || connected;
		connected = false }
	od
}

/* Nothing can happen any more. (Nothing happens without end either: every loop needs an event.) */
active proctype End()
{
	timeout -> assert(last_used == ALL)	/* completed */
}

/* ---- the back end ---- */

/* take(): qring_pop(), which is ours alone, then qvhu_inflight_take(). */
inline take(h)
{
	h = avail[last_avail % RING];
	last_avail++;
#ifdef WRONG_MARK_LATE
	state[h] = TAKEN
#else
	inflight[h] = true;
	state[h] = TAKEN
#endif
}

/* give_one(): to the device. */
inline give(h)
{
	d_step { state[h] = GIVEN; job[h] = version_of[h] };
#ifdef WRONG_MARK_LATE
	inflight[h] = true
#endif
}

/* queue_publish(), first loop: qvhu_inflight_batch() and qring_push(), for each that is done. */
inline push(h)
{
	if
	:: state[h] == DONE ->
#ifndef WRONG_NO_CHAIN
		next[h] = last_batch_head;
		last_batch_head = h;
#endif
		used[used_new % RING] = h;
		used_new++;
		state[h] = PUSHED
	:: else
	fi
}

/* Third: qvhu_inflight_done(). */
inline unmark(h)
{
	if
	:: state[h] == PUSHED ->
		inflight[h] = false;
		state[h] = NOT_OUT
	:: else
	fi
}

inline publish()
{
	push(0);
	push(1);
#ifdef WRONG_UNMARK_FIRST
	unmark(0);
	unmark(1);
	used_idx = used_new;
#else
	used_idx = used_new;		/* qring_publish() */
	unmark(0);
	unmark(1);
#endif
	region_used_idx = used_idx;	/* qvhu_inflight_used() */
	call = true			/* qbell_ring() */
}

/* repair(): of a batch that was published, the marks that are still set. */
inline repair()
{
#ifndef WRONG_NO_REPAIR
	n = used_idx - region_used_idx;
	h = last_batch_head;
	do
	:: n > 0 ->
		inflight[h] = false;
		h = next[h];
		n--
	:: else -> break
	od;
	h = 0;
#endif
	region_used_idx = used_idx
}

/* qvhu_inflight_begin(): where the avail ring goes on. */
inline begin()
{
	if
	:: !formatted ->
		region_used_idx = used_idx;
		formatted = true;
		last_avail = 0
	:: else ->
		repair();
		last_avail = used_idx + inflight[0] + inflight[1]
	fi;
	used_new = used_idx
}

/*
 * queue_replay(): what the one before had taken and not answered. Their order does not matter here
 * (they are to different sectors), and the kernel chooses its own.
 */
inline replay(h)
{
	if
	:: inflight[h] -> state[h] = TAKEN
	:: else
	fi
}

#define OUT(h)	  (state[h] == GIVEN || state[h] == DONE)
#define NONE_OUT  (!OUT(0) && !OUT(1))
#define ORPHANS	  (orphan[0] != 0 || orphan[1] != 0)

/* One connection, from accept() until it is lost and all of it has ended. */
inline serve()
{
	do
	:: connected && last_avail != avail_idx -> take(h); h = 0
	:: connected && state[0] == TAKEN -> give(0)
	:: connected && state[1] == TAKEN -> give(1)
	:: state[0] == DONE || state[1] == DONE -> publish()
	/* drop_waiting(); then qvhu_be_stop_all(), once nothing is out. */
	:: atomic { !connected && NONE_OUT -> state[0] = NOT_OUT; state[1] = NOT_OUT; break }
	od
}

inline live()
{
	/* lock_device(): the I/O of the one before holds the file until it has ended. */
#ifndef WRONG_NO_LOCK
	!ORPHANS;
#endif
	do
	:: atomic { backlog?1 -> connected = true };
		begin();
		replay(0);
		replay(1);
		serve()
	od
}

active proctype BackEnd()
{
	byte h, n;

	do
	:: { live() } unless { d_step { killed -> killed = false; h = 0; n = 0 } }
	od
}
