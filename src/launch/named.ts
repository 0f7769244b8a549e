import type { Container } from '../container/index.js';
import { BerthError } from '../errors/index.js';
import type { LaunchOrder } from './order.js';

type Named = Pick<LaunchOrder, 'options' | 'image' | 'jobId' | 'stepId' | 'nodeName' | 'shape'>;

const whose = ({ jobId }: Named): string => (jobId === 0 ? 'you have' : 'the job has');

/**
 * May a launch use this container, which is there already?
 *
 * @throws BerthError BERTH_CONTAINER_NAME when it asked for a new one, or for something that this one was not made with: no
 * program starts with less than was asked for. All ranks of the step that made it may.
 */
export function checkNameOf(container: Container, order: Named): void {
  const { options, stepId, nodeName, shape } = order;
  if (!options.name || container.stepId === stepId) return;
  const { name, mode } = options.name;
  const refuse = (why: string): never => {
    throw new BerthError('BERTH_CONTAINER_NAME', { name, host: nodeName, why });
  };
  if (mode === 'create')
    refuse(`${whose(order)} a container of that name already, and a new one was asked for (create)`);
  const lacking = shape.find((option) => !(container.shape ?? shape).includes(option));
  if (lacking) refuse(`the container of that name was made without ${lacking}, and cannot get it any more`);
}

/**
 * May a launch have a container made?
 *
 * @throws BerthError BERTH_CONTAINER_NAME when it asked for one that is there, or does not say of which image.
 */
export function checkNewName(order: Named): void {
  const { options, image, nodeName } = order;
  const { name } = options;
  if (!name || (image !== '' && name.mode !== 'exec')) return;
  const why =
    name.mode === 'exec'
      ? `${whose(order)} no container of that name, and none was to be made (exec)`
      : `${whose(order)} no container of that name, and no image was given to make it of`;
  throw new BerthError('BERTH_CONTAINER_NAME', { name: name.name, host: nodeName, why });
}
