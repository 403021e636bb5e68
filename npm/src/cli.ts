#!/usr/bin/env node
/**
 * The command `kez`: the same one as the native binary, with Node under it.
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import * as glue from './cli-glue/kez_wasm.js'
import { machine } from './machine.js'
import { webSocket } from './node-websocket.js'

glue.initSync({ module: readFileSync(new URL('./kez-cli.wasm', import.meta.url)) })
const node = machine(glue.isPublicAddress, await webSocket())

/** Ends as a defect: what the command holds cannot be trusted any more. */
function broken(error: unknown): never {
  process.stderr.write(`kez: error: a defect of kez, please report it: ${String(error)}\n`)
  process.exit(70)
}

// Node counts the timers of signals as nothing to wait for.
setInterval(() => {}, 2 ** 30)
let scheduled = true
function step(): void {
  scheduled = false
  try {
    const result = task.poll()
    if (result !== undefined) process.exit(Number(result[0]))
  } catch (error) {
    broken(error)
  }
}
const wake = () => {
  if (scheduled) return
  scheduled = true
  queueMicrotask(step)
}
const task = glue.run(['kez', ...process.argv.slice(2)], node, wake)
queueMicrotask(step)
